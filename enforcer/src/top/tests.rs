//! The tables and the screen, as an operator sees them.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::screen::{Next, Screen};
use super::*;

/// A report at so many seconds, after `grown` times a second's traffic.
pub(crate) fn report(seconds: u64, grown: u64) -> CounterReport {
    let traffic = |packets, octets| Traffic {
        packets: packets * grown,
        octets: octets * grown,
    };
    let zone = |name: &str, octets, dropped| ZoneCounts {
        name: name.into(),
        flows: 3,
        sent: traffic(1, octets),
        received: traffic(1, 2 * octets),
        dropped: dropped * grown,
        would_drop: 0,
    };
    let device = |name: &str, octets| DeviceCounts {
        name: name.into(),
        zone: "pumps".into(),
        flows: 1,
        sent: traffic(10, octets),
        received: traffic(5, octets),
        refused_events: 0,
        last_seen: Some("2026-11-24T11:00:00Z".into()),
    };
    let rule = |name: &str, packets| RuleCounts {
        name: name.into(),
        decided: traffic(packets, packets * 100),
    };
    let mut reasons = Vec::new();
    if grown > 1 {
        reasons.push(ReasonCounts {
            reason: "default-deny".into(),
            zone: "guests".into(),
            verdict: "drop".into(),
            refused: Traffic {
                packets: 40,
                octets: 4000,
            },
        });
    }
    CounterReport {
        schema_version: 1,
        at: seconds * 1000,
        flows_at: seconds * 1000,
        generation: 7,
        policy_hash: "ab".into(),
        ports: vec![PortCounts {
            name: "trunk0".into(),
            passed: traffic(100, 12_500),
            would_drop: traffic(0, 0),
            dropped: traffic(40, 0),
        }],
        zones: vec![zone("pumps", 1000, 0), zone("guests", 50, 40)],
        devices: vec![device("pump-1", 100), device("pump-2", 900)],
        rules: vec![rule("pumps-to-gateway", 2), rule("default-deny", 40)],
        reasons,
        events_lost: 0,
    }
}

fn model() -> Model {
    let mut model = Model::default();
    model.push(report(10, 1));
    model.push(report(12, 3));
    model
}

/// What stands on a screen of this size.
fn drawn(screen: &mut Screen, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |row: u16| {
        let cells = (0..width).map(|column| buffer[(column, row)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    (0..height).map(line).collect::<Vec<_>>().join("\n")
}

fn screen() -> Screen {
    let mut screen = Screen::new(View::Zones, false);
    screen.told(report(10, 1), "then".into(), true);
    screen.told(report(12, 3), "now  ready  generation 7".into(), true);
    screen
}

fn press(screen: &mut Screen, code: KeyCode) -> Next {
    screen.press(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn the_screen_shows_zones_with_their_rates() {
    let expected = "\
now  ready  generation 7
trunk0 100k b/s, would drop 0/s, drop 40/s
 1 zones  2 devices  3 rules  4 reasons  5 ports
ZONE    FLOWS  SENT b/s  RECEIVED b/s  DROP/s  WOULD-DROP/s  DROPPED  WOULD-DROP
pumps       3      8.0k           16k       0             0        0           0
guests      3       400           800      40             0      120           0

1-5 Tab view  ←/→ sort by  r reverse  ↑/↓ PgUp/PgDn scroll  q quit";
    assert_eq!(drawn(&mut screen(), 84, 8), expected);
}

#[test]
fn keys_switch_views_sort_and_quit() {
    let mut screen = screen();
    assert_eq!(press(&mut screen, KeyCode::Char('3')), Next::Draw);
    let rules = drawn(&mut screen, 84, 8);
    assert!(
        rules.find("default-deny").unwrap() < rules.find("pumps-to-gateway").unwrap(),
        "{rules}"
    );
    press(&mut screen, KeyCode::Char('r'));
    let reversed = drawn(&mut screen, 84, 8);
    assert!(
        reversed.find("pumps-to-gateway").unwrap() < reversed.find("default-deny").unwrap(),
        "{reversed}"
    );
    press(&mut screen, KeyCode::Tab);
    assert!(drawn(&mut screen, 84, 8).contains("default-deny  guests  drop           20      40"));
    press(&mut screen, KeyCode::Char('2'));
    let devices = drawn(&mut screen, 100, 8);
    assert!(
        devices.find("pump-2").unwrap() < devices.find("pump-1").unwrap(),
        "{devices}"
    );
    press(&mut screen, KeyCode::Left);
    press(&mut screen, KeyCode::BackTab);
    assert_eq!(screen.view(), View::Zones);
    let control = |code| KeyEvent::new(KeyCode::Char(code), KeyModifiers::CONTROL);
    assert_eq!(screen.press(control('c')), Next::Quit);
    assert_eq!(press(&mut screen, KeyCode::Char('c')), Next::Draw);
    for key in [KeyCode::Char('q'), KeyCode::Esc] {
        assert_eq!(press(&mut screen, key), Next::Quit);
    }
}

#[test]
fn an_enforcer_that_is_gone_is_told_over_what_was_seen_last() {
    let mut screen = screen();
    screen.silent("no enforcer answers".into());
    let text = drawn(&mut screen, 84, 8);
    assert!(text.contains("no enforcer answers") && text.contains("pumps"), "{text}");
    screen.told(report(13, 4), "again".into(), true);
    assert!(!drawn(&mut screen, 84, 8).contains("no enforcer answers"));
}

#[test]
fn any_size_of_a_terminal_will_do() {
    let mut screen = screen();
    for view in '1'..='5' {
        press(&mut screen, KeyCode::Char(view));
        for (width, height) in [(1, 1), (10, 3), (300, 2), (5, 60)] {
            drawn(&mut screen, width, height);
        }
    }
    let mut empty = Screen::new(View::Devices, true);
    assert!(drawn(&mut empty, 40, 6).contains("asking the enforcer"));
}

#[test]
fn text_has_the_first_rows_and_says_what_is_left_out() {
    let mut table = model().table(View::Devices);
    table.sort(View::Devices.usual_sort(), false);
    assert_eq!(
        table.text(1),
        "\
DEVICE  ZONE   FLOWS  SENT f/s  SENT b/s  RECEIVED b/s  REFUSED  LAST SEEN
pump-2  pumps      1        10      7.2k          7.2k        0  2026-11-24T11:00:00Z
and 1 more
"
    );
    assert_eq!(table.text(0).lines().count(), 3);
}

#[test]
fn counters_that_went_back_have_no_rate_and_a_new_boot_starts_anew() {
    let mut model = model();
    model.push(report(13, 1));
    assert_eq!(model.table(View::Rules).rows[1][1], Cell::Rate(Some(0)));
    model.push(report(1, 1));
    assert_eq!(model.table(View::Rules).rows[1][1], Cell::Rate(None));
    assert!(!model.has_rates());
}

#[test]
fn flows_that_were_not_read_again_keep_their_rates() {
    let mut model = model();
    let before = model.table(View::Devices).rows;
    let mut late = report(13, 3);
    late.flows_at = 12_000;
    model.push(late);
    assert_eq!(model.table(View::Devices).rows, before);
}
