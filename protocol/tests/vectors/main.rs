//! Walks `protocol/vectors`: every file, every case. Other languages read the same files.

mod corpus;
mod decode;
mod encode;
mod names;
mod value;

use std::collections::BTreeSet;

use corpus::{FILES, cases, folder, raw};

#[test]
fn every_file_is_walked_and_every_id_is_unique() {
    let found: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("protocol/vectors")
        .map(|entry| entry.expect("a file").file_name().into_string().expect("a UTF-8 name"))
        .collect();
    let known: BTreeSet<String> =
        FILES.iter().map(|file| format!("{file}.json")).chain(["schema.json".to_owned()]).collect();
    assert_eq!(found, known, "a file of vectors without a test, or a test without its file");

    let mut ids = BTreeSet::new();
    for case in FILES.iter().flat_map(|file| cases(file)) {
        assert!(ids.insert(case.id.clone()), "the id {} stands twice", case.id);
    }
}

#[test]
fn every_file_satisfies_the_schema() {
    let schema: serde_json::Value = serde_json::from_slice(&raw("schema")).expect("schema.json is JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("schema.json is a schema of 2020-12");
    for file in FILES {
        let vectors = serde_json::from_slice(&raw(file)).expect("vectors are JSON");
        assert!(validator.is_valid(&vectors), "{file}.json does not satisfy schema.json");
    }
    let unknown =
        serde_json::json!({"title": "Names", "cases": [{"id": "x", "about": "x", "in": {}, "out": {}}]});
    assert!(!validator.is_valid(&unknown), "schema.json accepts anything");
}
