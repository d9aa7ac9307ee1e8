//! `enforcer flows`: the flows that the kernel program keeps.

use clap::builder::PossibleValuesParser;
use enforcer_common::abi::FlowState;
use serde_json::json;

use super::ask::{columns, duration, print_line, short};
use super::{ConfigArgument, Exit, OutputFormat};
use crate::flows::{self, FlowEnd, FlowRecord, LIMIT, Query, Summary};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer flows\n  enforcer flows --zone infusion-pumps --limit 100\n  enforcer flows --device ct-01 --established\n  enforcer flows --half-open --state syn-sent\n  enforcer flows --limit 0 --output json > flows.ndjson      # all of them, one line each, in no order\n\nOptions of one name add up: any of their values will do. Those of different names narrow down.\n\nExit codes: 0 told; 1 a filter names what the policy does not have; 2 no enforcer runs."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Only of these zones, at either end.
    #[arg(long, value_delimiter = ',')]
    zone: Vec<String>,
    /// Only of these devices, at either end.
    #[arg(long, value_delimiter = ',')]
    device: Vec<String>,
    /// Only permitted by these rules.
    #[arg(long, value_delimiter = ',')]
    rule: Vec<String>,
    /// Only in these states.
    #[arg(long, value_delimiter = ',', value_parser = states())]
    state: Vec<String>,
    /// Only those that have been answered.
    #[arg(long, conflicts_with = "half_open")]
    established: bool,
    /// Only those that have not.
    #[arg(long)]
    half_open: bool,
    /// How many, those with the most octets first; 0 for all of them in no order.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// How to print them; `json` is one object a line, the last of them a summary.
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

fn states() -> PossibleValuesParser {
    FlowState::ALL.map(FlowState::name).into()
}

/// Lines of a table whose columns are as wide as these lines need.
const PAGE: usize = LIMIT;

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let directory = arguments.config.load()?.runtime_directory;
    let query = arguments.query();
    let mut table = Table::default();
    let mut printed = Ok(true);
    let summary = flows::fetch(&directory, &query, |flow| {
        if !matches!(printed, Ok(true)) {
            return;
        }
        printed = match arguments.output {
            OutputFormat::Json => print_line(&json!(flow).to_string()),
            OutputFormat::Human => table.add(&flow),
        };
    })?;
    if !printed? {
        return Ok(());
    }
    match arguments.output {
        OutputFormat::Json => print_line(&json!({"schema_version": 1, "summary": summary}).to_string()),
        OutputFormat::Human => table.flush(),
    }?;
    if arguments.output == OutputFormat::Human {
        eprintln!("{}", told(&summary));
    }
    Ok(())
}

impl Arguments {
    fn query(&self) -> Query {
        Query {
            zones: self.zone.clone(),
            devices: self.device.clone(),
            rules: self.rule.clone(),
            states: self.state.clone(),
            established: match (self.established, self.half_open) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
            limit: self.limit,
        }
    }
}

fn told(summary: &Summary) -> String {
    let Summary {
        established,
        half_open,
        matched,
        shown,
    } = summary;
    let shown = if shown < matched {
        format!("{shown} of {matched} shown; `--limit 0` shows all")
    } else {
        format!("{shown} shown")
    };
    format!("{shown}; there are {established} flows that have been answered, {half_open} that have not")
}

/// Flows in columns, a page at a time.
#[derive(Default)]
struct Table {
    rows: Vec<[String; COLUMNS]>,
}

const COLUMNS: usize = 10;

impl Table {
    fn add(&mut self, flow: &FlowRecord) -> Result<bool, Exit> {
        self.rows.push(row(flow));
        if self.rows.len() < PAGE {
            return Ok(true);
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<bool, Exit> {
        let head = [
            "INITIATOR",
            "RESPONDER",
            "SERVICE",
            "STATE",
            "AGE",
            "IDLE",
            "PACKETS",
            "SENT",
            "RECEIVED",
            "RULE",
        ];
        self.rows.insert(0, head.map(str::to_owned));
        let text = columns(&std::mem::take(&mut self.rows));
        print_line(text.trim_end())
    }
}

fn row(flow: &FlowRecord) -> [String; COLUMNS] {
    let rule = flow.rule.clone().unwrap_or_else(|| "-".to_owned());
    [
        end(&flow.initiator, flow.link.as_deref()),
        end(&flow.responder, None),
        flow.service.clone(),
        flow.state.clone(),
        duration(flow.age_seconds),
        duration(flow.idle_seconds),
        format!("{}/{}", short(flow.sent.packets), short(flow.received.packets)),
        short(flow.sent.octets),
        short(flow.received.octets),
        match &flow.would_drop {
            Some(reason) => format!("{rule} (would drop: {reason})"),
            None => rule,
        },
    ]
}

/// `infusion-pumps/pump-icu-01 10.10.110.21`.
fn end(end: &FlowEnd, link: Option<&str>) -> String {
    let names = [end.zone.as_deref(), end.device.as_deref()];
    let names: Vec<_> = names.into_iter().flatten().collect();
    let address = end.address.map_or("-".to_owned(), |address| address.to_string());
    let link = link.map(|vlan| format!("%{vlan}")).unwrap_or_default();
    format!("{} {address}{link}", names.join("/")).trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::Traffic;

    #[test]
    fn a_flow_is_told_in_a_row() {
        let end = |zone: &str, device: Option<&str>, address: &str| FlowEnd {
            zone: Some(zone.into()),
            device: device.map(str::to_owned),
            address: address.parse().ok(),
            port: Some(443),
        };
        let flow = FlowRecord {
            schema_version: 1,
            established: true,
            state: "established".into(),
            realm: Some("default".into()),
            link: None,
            initiator: end("pumps", Some("pump-1"), "10.10.110.21"),
            responder: end("servers", None, "10.20.0.1"),
            service: "tcp/443".into(),
            rule: Some("pumps-to-servers".into()),
            rule_at: None,
            would_drop: Some("default-deny".into()),
            generation: 1,
            age_seconds: 61,
            idle_seconds: 2,
            sent: Traffic {
                packets: 1200,
                octets: 90_000,
            },
            received: Traffic {
                packets: 800,
                octets: 7,
            },
        };
        let row = row(&flow).join("|");
        assert_eq!(
            row,
            "pumps/pump-1 10.10.110.21|servers 10.20.0.1|tcp/443|established|1m01s|2s|1.2k/800|90k|7|pumps-to-servers (would drop: default-deny)"
        );
        let counts = Summary {
            established: 7,
            half_open: 1,
            matched: 5,
            shown: 2,
        };
        assert!(told(&counts).starts_with("2 of 5 shown"), "{}", told(&counts));
    }
}
