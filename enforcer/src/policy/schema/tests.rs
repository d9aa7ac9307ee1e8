use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Map, Value, json};

use super::schema;
use crate::diagnostics::Sources;
use crate::policy::{load_texts, yaml};

/// A key that nothing has.
const STRANGER: &str = "zzzzzzzzzzzzzzzz";

struct Validator(Schemas, SchemaIndex);

impl Validator {
    fn new() -> Self {
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        let schema = schema();
        assert!(schema["definitions"]["zone"].is_object(), "schema.json cannot be read");
        compiler.add_resource("policy.json", schema).expect("it is JSON");
        let index = compiler.compile("policy.json", &mut schemas).expect("it is a schema");
        Self(schemas, index)
    }

    fn errors(&self, value: &Value) -> Option<String> {
        self.0.validate(value, self.1).err().map(|error| error.to_string())
    }
}

/// A file as an editor's YAML reader sees it.
fn json_of(text: &str) -> Value {
    let mut sources = Sources::default();
    sources.add("policy.yaml".into(), text.to_owned());
    let mut findings = Vec::new();
    let Ok(root) = yaml::parse(&sources, 0, &mut findings) else {
        panic!("{findings:?}");
    };
    root.map_or(Value::Null, |root| value_of(&root))
}

fn value_of(node: &yaml::Node<'_>) -> Value {
    match &node.value {
        yaml::Value::Null => Value::Null,
        yaml::Value::Scalar { text, plain: true } => match text.as_ref() {
            "true" => json!(true),
            "false" => json!(false),
            text => text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number)),
        },
        yaml::Value::Scalar { text, .. } => json!(text),
        yaml::Value::List(nodes) => nodes.iter().map(value_of).collect(),
        yaml::Value::Map(entries) => {
            let entries = entries.iter().map(|(key, node)| (key.text.to_string(), value_of(node)));
            Value::Object(entries.collect())
        }
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The reference hospital, by file; what is built in; the examples of the policy reference.
fn good_files() -> Vec<String> {
    let mut files = vec![
        include_str!("../classes.yaml").to_owned(),
        include_str!("../templates.yaml").to_owned(),
    ];
    for entry in fs::read_dir(root().join("policies")).expect("the hospital") {
        files.push(fs::read_to_string(entry.expect("a file").path()).expect("text"));
    }
    assert!(files.len() >= 8, "the hospital shrank");
    files.extend(examples());
    files
}

fn examples() -> Vec<String> {
    let reference = include_str!("../../../../docs/policy.md");
    let blocks = reference.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split("```").next());
    blocks.map(str::to_owned).collect()
}

#[test]
fn every_good_file_is_valid() {
    let validator = Validator::new();
    for text in good_files() {
        let errors = validator.errors(&json_of(&text));
        assert_eq!(errors, None, "{text}");
    }
}

/// Each kind of map of the language: what the schema calls it, and a policy with a key in it that it does not have.
const MAPS: [(&str, &str); 24] = [
    ("", "?: 1"),
    ("zone", "zones: {a: {?: 1}}"),
    ("guards", "zones: {a: {guards: {?: 1}}}"),
    ("limits", "zones: {a: {limits: {?: 1}}}"),
    ("limit", "zones: {a: {limits: {from: {?: 1}}}}"),
    ("burst", "zones: {a: {limits: {from: {packets: 9/s, burst: {?: 1}}}}}"),
    ("broadcastLimit", "zones: {a: {broadcast: {?: 1}}}"),
    ("device", "devices: {a: {?: 1}}"),
    ("groupWithComment", "groups: {a: {?: 1}}"),
    ("class", "classes: {a: {?: 1}}"),
    ("serviceWithComment", "services: {a: {?: 1}}"),
    ("template", "templates: {a: {?: 1}}"),
    ("rule", "rules: {a: {?: 1}}"),
    ("ruleLimit", "rules: {a: {limit: {?: 1}}}"),
    ("never", "never: {a: {?: 1}}"),
    ("mustFlow", "must_flow: {a: {?: 1}}"),
    ("test", "tests: [{?: 1}]"),
    ("step", "tests: [{name: a, steps: [{?: 1}]}]"),
    ("expect", "tests: [{name: a, steps: [{send: {}, expect: {?: 1}}]}]"),
    ("send", "tests: [{name: a, steps: [{send: {?: 1}}]}]"),
    ("reply", "tests: [{name: a, steps: [{send: {}}, {reply: {?: 1}}]}]"),
    ("limit", "classes: {a: {limits: {toward: {?: 1}}}}"),
    ("limits", "devices: {a: {limits: {?: 1}}}"),
    ("ruleLimit", "templates: {a: {limit: {?: 1}}}"),
];

#[test]
fn every_map_has_the_keys_that_the_parser_knows() {
    let schema = schema();
    for (name, policy) in MAPS {
        let map = if name.is_empty() {
            &schema
        } else {
            &schema["definitions"][name]
        };
        let properties = map["properties"].as_object().expect(name);
        let keys: BTreeSet<_> = properties.keys().map(String::as_str).collect();
        let text = policy.replace('?', STRANGER);
        let findings = load_texts([("policy.yaml".into(), text)]).expect_err("a stranger");
        let mut helps = findings
            .list
            .iter()
            .filter(|finding| finding.message.contains(STRANGER));
        let help = helps
            .next()
            .map(|finding| finding.help.trim_start_matches("the keys are: "));
        let known: BTreeSet<_> = help.unwrap_or_default().split(", ").collect();
        assert_eq!(keys, known, "{name}: {policy}");
    }
}

#[test]
fn every_map_of_the_schema_is_compared_with_the_parser() {
    let schema = schema();
    let maps = schema["definitions"].as_object().expect("definitions");
    let maps = maps.iter().filter(|(_, map)| map.get("properties").is_some());
    for (name, map) in maps {
        assert_eq!(map["additionalProperties"], json!(false), "{name}");
        assert!(MAPS.iter().any(|(compared, _)| compared == name), "{name}");
    }
}

/// All tests of the hospital.
const TESTS: usize = usize::MAX;

/// The hospital as one file, with so many of its tests.
fn hospital(tests: usize) -> Value {
    let mut whole = Map::new();
    for entry in fs::read_dir(root().join("policies")).expect("the hospital") {
        let text = fs::read_to_string(entry.expect("a file").path()).expect("text");
        let Value::Object(sections) = json_of(&text) else {
            panic!("no map")
        };
        for (section, content) in sections {
            match (whole.entry(section).or_insert_with(|| json!({})), content) {
                (Value::Object(entries), Value::Object(more)) => entries.extend(more),
                (place, content) => *place = content,
            }
        }
    }
    if let Some(Value::Array(all)) = whole.get_mut("tests") {
        all.truncate(tests);
    }
    Value::Object(whole)
}

/// The keys of maps, at any depth.
fn keys_of(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            found.insert(key.clone());
            keys_of(value, found);
        }),
        Value::Array(list) => list.iter().for_each(|value| keys_of(value, found)),
        _ => {}
    }
}

#[test]
fn the_hospital_uses_every_key_of_the_language() {
    let schema = schema();
    let maps = schema["definitions"].as_object().expect("definitions").values();
    let maps = maps.chain([&schema]).filter_map(|map| map["properties"].as_object());
    let mut used = BTreeSet::new();
    keys_of(&hospital(TESTS), &mut used);
    for key in maps.flat_map(Map::keys) {
        assert!(used.contains(key), "the hospital does without {key}");
    }
}

/// The places in a value, as JSON pointers; not those of free text.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    let free = ["comment", "owner", "ticket", "name"]
        .iter()
        .any(|key| here.ends_with(&format!("/{key}")));
    if free {
        return;
    }
    found.push(here.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            places(value, &format!("{here}/{key}"), found);
        }),
        Value::Array(list) => list.iter().enumerate().for_each(|(at, value)| {
            places(value, &format!("{here}/{at}"), found);
        }),
        _ => {}
    }
}

#[test]
fn what_is_put_wrong_in_the_hospital_is_refused_by_both() {
    let validator = Validator::new();
    // All tests would take the time of this one.
    let good = hospital(4);
    assert_eq!(validator.errors(&good), None);
    let load = |value: &Value| load_texts([("policy.json".into(), value.to_string())]);
    load(&good).unwrap_or_else(|findings| panic!("{findings}"));
    let mut all = Vec::new();
    places(&good, "", &mut all);
    // Every so many places, so that each section and key comes in turn.
    for (number, place) in all.iter().skip(1).step_by(23).enumerate() {
        let wrong = [json!("?!"), json!([[1]]), json!({STRANGER: 1})][number % 3].clone();
        let mut bad = good.clone();
        *bad.pointer_mut(place).expect("it is there") = wrong.clone();
        assert!(validator.errors(&bad).is_some(), "{place}: {wrong} is valid");
        assert!(load(&bad).is_err(), "{place}: {wrong} is good");
    }
}
