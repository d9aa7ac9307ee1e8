//! `enforcer devices`: the devices of the policy in force, their addresses, and what they do.

use serde_json::{Value, json};

use super::ask::{AskArguments, columns, print_line, short};
use super::{Exit, OutputFormat};
use crate::control::Verb;

pub(super) fn run(arguments: &AskArguments) -> Result<(), Exit> {
    let devices = arguments.ask(Verb::Devices)?;
    let text = match arguments.output {
        OutputFormat::Json => format!("{:#}", json!({"schema_version": 1, "devices": devices})),
        OutputFormat::Human => table(&devices),
    };
    print_line(text.trim_end()).map(|_| ())
}

const COLUMNS: usize = 11;

/// One line an address, in columns. What a device does stands on its first line.
fn table(devices: &Value) -> String {
    let head = [
        "DEVICE",
        "ZONE",
        "MAC",
        "ADDRESS",
        "FROM",
        "UNTIL",
        "LAST SEEN",
        "FLOWS",
        "SENT",
        "RECEIVED",
        "REFUSED",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for device in devices.as_array().into_iter().flatten() {
        let text = |key: &str| device[key].as_str().unwrap_or("-").to_owned();
        for (number, [address, from, until]) in addresses(device).into_iter().enumerate() {
            let activity = if number == 0 {
                activity(device)
            } else {
                Default::default()
            };
            let [seen, flows, sent, received, refused] = activity;
            rows.push([
                text("name"),
                text("zone"),
                text("mac"),
                address,
                from,
                until,
                seen,
                flows,
                sent,
                received,
                refused,
            ]);
        }
    }
    columns::<COLUMNS>(&rows)
}

/// When it was seen, flows, octets sent and received, events of refused frames.
fn activity(device: &Value) -> [String; 5] {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let seen = device["last_seen"].as_str().unwrap_or("-").to_owned();
    [
        seen,
        number(&device["flows"]).to_string(),
        short(number(&device["sent"]["octets"])),
        short(number(&device["received"]["octets"])),
        number(&device["refused_events"]).to_string(),
    ]
}

/// The addresses of a device: which, where from, and until when.
fn addresses(device: &Value) -> Vec<[String; 3]> {
    let row = |address: &str, from: &str, until: &str| [address, from, until].map(str::to_owned);
    let declared = device["declared"].as_array().into_iter().flatten();
    let mut rows: Vec<_> = declared
        .filter_map(Value::as_str)
        .map(|address| row(address, "policy", "-"))
        .collect();
    let learnt = &device["learnt"];
    if let Some(address) = learnt["address"].as_str() {
        rows.push(row(address, "dhcp", learnt["until"].as_str().unwrap_or("-")));
    } else if device["dhcp"] == true {
        rows.push(row("-", "dhcp", "-"));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_listed_with_all_their_addresses() {
        let devices = json!([
            {"name": "ct-01", "zone": "imaging", "mac": null, "declared": ["10.1.0.1", "fd00::1"], "dhcp": false, "learnt": null,
             "last_seen": "2026-11-24T07:00:00Z", "flows": 2, "sent": {"packets": 9, "octets": 4711},
             "received": {"packets": 1, "octets": 64}, "refused_events": 3},
            {"name": "pump-1", "zone": "pumps", "mac": "02:00:00:00:6e:1e", "declared": [], "dhcp": true,
             "learnt": {"address": "10.10.110.30", "until": "2026-11-24T08:00:00Z"}},
            {"name": "pump-2", "zone": "pumps", "mac": "02:00:00:00:6e:1f", "declared": [], "dhcp": true, "learnt": null},
        ]);
        let expected = "\
DEVICE  ZONE     MAC                ADDRESS       FROM    UNTIL                 LAST SEEN             FLOWS  SENT  RECEIVED  REFUSED
ct-01   imaging  -                  10.1.0.1      policy  -                     2026-11-24T07:00:00Z  2      4.7k  64        3
ct-01   imaging  -                  fd00::1       policy  -
pump-1  pumps    02:00:00:00:6e:1e  10.10.110.30  dhcp    2026-11-24T08:00:00Z  -                     0      0     0         0
pump-2  pumps    02:00:00:00:6e:1f  -             dhcp    -                     -                     0      0     0         0
";
        assert_eq!(table(&devices), expected);
    }
}
