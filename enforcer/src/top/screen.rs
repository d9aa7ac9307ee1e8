//! `enforcer top` on a terminal: what is drawn, and what the keys do. Reads nothing and waits for nothing.

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell as Shown, Paragraph, Row, Table as Drawn, TableState};

use super::{Cell, Model, View};

/// What an operator sees: a view, sorted by one of its columns.
pub struct Screen {
    model: Model,
    view: View,
    /// The column that each view is sorted by, and whether the other way round.
    sorts: [(usize, bool); View::ALL.len()],
    selected: TableState,
    /// The first line: readiness, as the status of the controller says.
    headline: String,
    /// Whether all is well with the enforcer.
    ready: bool,
    /// Why there is nothing new, and since when.
    trouble: Option<String>,
    colour: bool,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Draw again.
    Draw,
    /// End.
    Quit,
}

impl Screen {
    /// A screen without data.
    pub fn new(view: View, colour: bool) -> Self {
        Self {
            model: Model::default(),
            view,
            sorts: View::ALL.map(|view| (view.usual_sort(), false)),
            selected: TableState::default().with_selected(0),
            headline: "asking the enforcer".to_owned(),
            ready: true,
            trouble: None,
            colour,
        }
    }

    /// What is shown.
    pub fn view(&self) -> View {
        self.view
    }

    /// Takes what the controller told: its counters, a line on its state, and whether that is good.
    pub fn told(&mut self, report: crate::metrics::CounterReport, headline: String, ready: bool) {
        self.model.push(report);
        (self.headline, self.ready, self.trouble) = (headline, ready, None);
    }

    /// Takes that the controller told nothing.
    pub fn silent(&mut self, trouble: String) {
        self.trouble = Some(trouble);
    }

    /// Does what a key stands for.
    pub fn press(&mut self, key: KeyEvent) -> Next {
        let at = self.view as usize;
        let (column, reverse) = self.sorts[at];
        let columns = self.view.columns().len();
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Next::Quit,
            KeyCode::Char('q') | KeyCode::Esc => return Next::Quit,
            KeyCode::Char(digit @ '1'..='5') => self.show(digit as usize - '1' as usize),
            KeyCode::Tab => self.show(at + 1),
            KeyCode::BackTab => self.show(at + View::ALL.len() - 1),
            KeyCode::Right | KeyCode::Char('s' | '>') => self.sorts[at] = ((column + 1) % columns, false),
            KeyCode::Left | KeyCode::Char('S' | '<') => self.sorts[at] = ((column + columns - 1) % columns, false),
            KeyCode::Char('r') => self.sorts[at] = (column, !reverse),
            KeyCode::Down | KeyCode::Char('j') => self.selected.select_next(),
            KeyCode::Up | KeyCode::Char('k') => self.selected.select_previous(),
            KeyCode::PageDown => self.selected.scroll_down_by(20),
            KeyCode::PageUp => self.selected.scroll_up_by(20),
            KeyCode::Home => self.selected.select_first(),
            KeyCode::End => self.selected.select_last(),
            _ => {}
        }
        Next::Draw
    }

    fn show(&mut self, view: usize) {
        self.view = View::ALL[view % View::ALL.len()];
        self.selected = TableState::default().with_selected(0);
    }

    /// Draws it.
    pub fn draw(&mut self, frame: &mut Frame<'_>) {
        let [head, tabs, body, foot] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(self.head(), head);
        frame.render_widget(self.tabs(), tabs);
        self.body(frame, body);
        let keys = "1-5 Tab view  ←/→ sort by  r reverse  ↑/↓ PgUp/PgDn scroll  q quit";
        frame.render_widget(Paragraph::new(keys).style(self.style(Color::DarkGray)), foot);
    }

    fn head(&self) -> Text<'_> {
        let style = if self.ready {
            Style::new()
        } else {
            self.style(Color::Red)
        };
        let second = match &self.trouble {
            Some(trouble) => Line::styled(trouble.as_str(), self.style(Color::Red).add_modifier(Modifier::BOLD)),
            None => Line::raw(ports(&self.model)),
        };
        Text::from(vec![Line::styled(self.headline.as_str(), style), second])
    }

    fn tabs(&self) -> Line<'static> {
        let tab = |(number, view): (usize, View)| {
            let text = format!(" {} {} ", number + 1, view.name());
            if view == self.view {
                Span::styled(text, Style::new().add_modifier(Modifier::REVERSED))
            } else {
                Span::raw(text)
            }
        };
        View::ALL.into_iter().enumerate().map(tab).collect()
    }

    fn body(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let (column, reverse) = self.sorts[self.view as usize];
        let mut table = self.model.table(self.view);
        if table.rows.is_empty() {
            let nothing = match self.view {
                View::Reasons => "nothing was refused yet",
                View::Devices if self.model.now().schema_version != 0 => "the policy has no devices",
                _ => "",
            };
            return frame.render_widget(Paragraph::new(nothing), area);
        }
        table.sort(column, reverse);
        let heads = table.columns.iter().enumerate().map(|(at, head)| {
            let style = Style::new().add_modifier(Modifier::BOLD);
            let text = Text::styled(head.name, style);
            let text = if head.number { text.right_aligned() } else { text };
            if at == column {
                Shown::new(text).style(Style::new().add_modifier(Modifier::UNDERLINED))
            } else {
                Shown::new(text)
            }
        });
        let rows = table.rows.iter().map(|row| {
            let cells = row.iter().zip(table.columns).map(|(cell, head)| {
                let text = Text::styled(cell.to_string(), self.emphasis(head.name, cell));
                if head.number { text.right_aligned() } else { text }
            });
            Row::new(cells)
        });
        let widths = table.widths();
        let widths = widths.iter().map(|width| Constraint::Length(*width as u16));
        let drawn = Drawn::new(rows, widths)
            .header(Row::new(heads))
            .column_spacing(2)
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        frame.render_stateful_widget(drawn, area, &mut self.selected);
    }

    /// Refusals at this moment stand out.
    fn emphasis(&self, head: &str, cell: &Cell) -> Style {
        match (head, cell) {
            ("DROP/s", Cell::Rate(Some(1..))) => self.style(Color::Red),
            ("WOULD-DROP/s", Cell::Rate(Some(1..))) => self.style(Color::Yellow),
            _ => Style::new(),
        }
    }

    fn style(&self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }
}

/// The ports on one line: `trunk0 3.4M b/s, drop 12/s`.
fn ports(model: &Model) -> String {
    let ports = model.table(View::Ports);
    let lines = ports
        .rows
        .iter()
        .map(|row| format!("{} {} b/s, would drop {}/s, drop {}/s", row[0], row[1], row[3], row[4]));
    lines.collect::<Vec<_>>().join("   ")
}
