//! `enforcer devices`: the devices of the policy in force, and their addresses.

use serde_json::{Value, json};

use super::{ConfigArgument, Exit, OutputFormat};
use crate::control::{self, Verb};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// How to print them.
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let config = arguments.config.load()?;
    let devices = &control::call(&config.runtime_directory, Verb::Devices)?;
    match arguments.output {
        OutputFormat::Json => println!("{:#}", json!({"schema_version": 1, "devices": devices})),
        OutputFormat::Human => print!("{}", table(devices)),
    }
    Ok(())
}

/// One line an address, in columns.
fn table(devices: &Value) -> String {
    let mut rows = vec![["DEVICE", "ZONE", "MAC", "ADDRESS", "FROM", "UNTIL"].map(str::to_owned)];
    for device in devices.as_array().into_iter().flatten() {
        rows.extend(addresses(device).into_iter().map(|[address, from, until]| {
            let text = |key: &str| device[key].as_str().unwrap_or("-").to_owned();
            [text("name"), text("zone"), text("mac"), address, from, until]
        }));
    }
    let widths: Vec<usize> = (0..6)
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells.map(|(text, width)| format!("{text:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
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
            {"name": "ct-01", "zone": "imaging", "mac": null, "declared": ["10.1.0.1", "fd00::1"], "dhcp": false, "learnt": null},
            {"name": "pump-1", "zone": "pumps", "mac": "02:00:00:00:6e:1e", "declared": [], "dhcp": true,
             "learnt": {"address": "10.10.110.30", "until": "2026-11-24T08:00:00Z"}},
            {"name": "pump-2", "zone": "pumps", "mac": "02:00:00:00:6e:1f", "declared": [], "dhcp": true, "learnt": null},
        ]);
        let expected = "\
DEVICE  ZONE     MAC                ADDRESS       FROM    UNTIL
ct-01   imaging  -                  10.1.0.1      policy  -
ct-01   imaging  -                  fd00::1       policy  -
pump-1  pumps    02:00:00:00:6e:1e  10.10.110.30  dhcp    2026-11-24T08:00:00Z
pump-2  pumps    02:00:00:00:6e:1f  -             dhcp    -
";
        assert_eq!(table(&devices), expected);
    }
}
