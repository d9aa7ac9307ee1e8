use super::*;

fn of(text: &str, measure: Measure) -> Option<(u64, u64)> {
    let quantity = quantity(text, measure).ok()?;
    Some((quantity.units, quantity.seconds))
}

#[test]
fn rates_from_the_slowest_to_the_fastest() {
    let packets = |text| of(text, Measure::Packets);
    assert_eq!(packets("1/h"), Some((1, 3600)));
    assert_eq!(packets("1/s"), Some((1, 1)));
    assert_eq!(packets("30/min"), Some((30, 60)));
    assert_eq!(packets("20M/s"), Some((20_000_000, 1)));
    assert_eq!(packets("1200M/min"), Some((1_200_000_000, 60)));
    assert_eq!(packets("20000001/s"), None);
    let bits = |text| of(text, Measure::Bits);
    assert_eq!(bits("1/s"), Some((1, 1)));
    assert_eq!(bits("3600/h"), Some((3600, 3600)));
    assert_eq!(bits("3599/h"), None);
    assert_eq!(bits("64k/s"), Some((64_000, 1)));
    assert_eq!(bits("10G/s"), Some((10_000_000_000, 1)));
    assert_eq!(bits("10000000001/s"), None);
    assert_eq!(of("7/min", Measure::Flows), Some((7, 60)));
}

#[test]
fn what_is_no_rate() {
    let bad = [
        "",
        "/s",
        "5",
        "5/",
        "5/d",
        "k/s",
        "-5/s",
        "+5/s",
        "1.5M/s",
        "5 /s",
        "5/ s",
        "5m/s",
        "5K/s",
        "5kk/s",
        "0/s",
        "0G/s",
        "５/s",
        "5é/s",
        "99999999999999999999/s",
        "18446744073709551615G/h",
        "200pps",
        "2Mbit/s",
    ];
    for text in bad {
        for measure in Measure::ALL {
            assert_eq!(of(text, measure), None, "{text:?} as {measure:?}");
        }
    }
}

#[test]
fn rates_with_their_unit() {
    let of = |text| rate(text).ok().map(|(measure, quantity)| (measure, quantity.units));
    assert_eq!(of("200pps"), Some((Measure::Packets, 200)));
    assert_eq!(of("2kpps"), Some((Measure::Packets, 2_000)));
    assert_eq!(of("64kbit/s"), Some((Measure::Bits, 64_000)));
    assert_eq!(of("2Mbit/s"), Some((Measure::Bits, 2_000_000)));
    assert_eq!(of("10Gbit/s"), Some((Measure::Bits, 10_000_000_000)));
    for text in [
        "11Gbit/s", "0pps", "pps", "bit/s", "200", "200/s", "200 pps", "1Mbps", "21Mpps",
    ] {
        assert_eq!(of(text), None, "{text:?}");
    }
}

#[test]
fn bursts_are_at_least_one_and_at_most_a_week() {
    let hourly = Quantity {
        units: 1,
        seconds: 3600,
    };
    let of = |text| burst(text, Measure::Packets, hourly).ok();
    assert_eq!(of("1"), Some(1));
    assert_eq!(of("168"), Some(168));
    assert_eq!(of("169"), None);
    assert_eq!(of("0"), None);
    assert_eq!(of("99999999999999999999"), None);
    let slow = Quantity {
        units: 8192,
        seconds: 3600,
    };
    let of = |text| burst(text, Measure::Bits, slow).ok();
    assert_eq!(of("12111"), None);
    assert_eq!(of("12112"), Some(12_112));
    assert_eq!(of("64k"), Some(64_000));
}

#[test]
fn usual_bursts_last_a_quarter_of_a_second() {
    let a_second = |units| Quantity { units, seconds: 1 };
    assert_eq!(usual_burst(Measure::Packets, a_second(200)), 50);
    assert_eq!(usual_burst(Measure::Packets, a_second(1)), 10);
    assert_eq!(usual_burst(Measure::Bits, a_second(10_000_000_000)), 2_500_000_000);
    assert_eq!(usual_burst(Measure::Bits, a_second(1)), 121_120);
    assert_eq!(usual_burst(Measure::Flows, a_second(100)), 25);
}
