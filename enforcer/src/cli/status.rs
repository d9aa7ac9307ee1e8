//! `enforcer status`: what is in force.

use serde_json::Value;

use super::ask::{AskArguments, duration};
use super::{Exit, OutputFormat};
use crate::control::Verb;

pub(super) fn run(arguments: &AskArguments) -> Result<(), Exit> {
    let status = &arguments.ask(Verb::Status)?;
    match arguments.output {
        OutputFormat::Json => println!("{status:#}"),
        OutputFormat::Human => print(status),
    }
    if status["ready"] == true {
        Ok(())
    } else {
        Err(Exit::input(format!("not ready: {}", reasons(status))))
    }
}

fn print(status: &Value) {
    println!("{}", summary(status));
    println!("  policy from: {}", source(status));
    if let Some(waiting) = waiting(status) {
        println!("  {waiting}");
    }
    if status["held"] == true {
        println!("  held: the files of the configuration do not count until `enforcer apply` or `enforcer reload`");
    }
    for port in status["ports"].as_array().into_iter().flatten() {
        let name = port["name"].as_str().unwrap_or_default();
        let mode = port["mode"].as_str().unwrap_or_default();
        let attached = if port["attached"] == true {
            "attached"
        } else {
            "NOT ATTACHED"
        };
        let tags = if port["tags_checked"] == true {
            ""
        } else {
            ", VLAN offload of the other end unknown"
        };
        let link = if port["up"] == true { "" } else { ", link down" };
        println!("  port {name}: {attached}, {mode}{link}{tags}");
    }
    for (name, standing) in status["must_flow"].as_object().into_iter().flatten() {
        if standing["silent"] == true {
            println!("  must_flow {name}: SILENT, nobody sends");
        } else if let Some(devices) = standing["silent_devices"].as_u64().filter(|devices| *devices > 0) {
            println!("  must_flow {name}: {devices} of the devices that were heard SILENT");
        }
    }
    let reload = &status["last_reload"];
    if let Some(at) = reload["at"].as_str() {
        let result = if reload["ok"] == true { "good" } else { "FAILED" };
        println!("  last reload: {at}, {result}");
    }
    if let Some(error) = reload["error"].as_str() {
        println!("{error}");
    }
}

/// Where the policy in force comes from.
fn source(status: &Value) -> String {
    let revision = status["revision"].as_u64();
    let kept = revision.map_or_else(String::new, |number| format!(", kept as revision {number}"));
    match status["policy_source"].as_str() {
        Some("files") => format!("the files of the configuration{kept}"),
        Some("revision") => revision.map_or_else(String::new, |number| format!("revision {number}")),
        Some("fallback") => "nowhere: zones and undeclared VLANs follow on_no_policy".to_owned(),
        Some("adopted") => "an earlier controller, whose policy was not kept".to_owned(),
        _ => "nowhere yet".to_owned(),
    }
}

/// What waits to be confirmed, and what to do.
pub(super) fn waiting(status: &Value) -> Option<String> {
    let pending = &status["pending"];
    let (revision, previous) = (pending["revision"].as_u64()?, pending["previous"].as_u64()?);
    let left = duration(pending["seconds_left"].as_u64()?);
    Some(format!(
        "revision {revision} waits to be confirmed: `enforcer confirm` makes it stay, `enforcer rollback` goes back to revision \
         {previous} now, and so does it by itself in {left}"
    ))
}

/// One line on the policy in force.
pub(super) fn summary(status: &Value) -> String {
    let generation = &status["generation"];
    match (generation["number"].as_u64(), generation["policy_hash"].as_str()) {
        (Some(number), Some(hash)) => {
            let since = generation["attached_at"].as_str().unwrap_or_default();
            format!("generation {number} in force since {since}, policy sha256 {hash}")
        }
        _ => "no policy is in force".to_owned(),
    }
}

/// Why it is not ready, on one line.
pub(super) fn reasons(status: &Value) -> String {
    let reasons = status["not_ready_because"].as_array().into_iter().flatten();
    reasons.filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
}
