//! The JSON Schema of policy files, for editors: what can be told of a file by itself, without the names in other files.

#[cfg(test)]
mod tests;

use enforcer_common::verdict::{DropReason, Stage};
use serde_json::{Value, json};

/// The schema of one policy file, JSON Schema draft 7. Every good file is valid by it; not every valid file is good.
pub fn schema() -> Value {
    // A test reads it; should it be damaged after all, an empty schema allows everything.
    let mut schema: Value = serde_json::from_str(include_str!("schema.json")).unwrap_or_default();
    let reasons: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
    let expect = &mut schema["definitions"]["expect"]["properties"];
    expect["reason"] = json!({"description": "Why it is refused.", "enum": reasons});
    expect["stage"] = json!({"description": "The stage that settles it.", "enum": Stage::ALL.map(Stage::name)});
    schema
}
