//! SPEC.md holds what the code does: scripts, codes, limits, sections, files of vectors. Transcripts have a test of
//! their own.

use std::{collections::BTreeSet, fs, path::Path};

use tempest_protocol::{Backoff, Code, RECONNECT, RETRY, limits};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Contents of the fenced blocks of a language.
fn blocks<'a>(spec: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    spec.split(opening.as_str()).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

/// Cells of the table rows that stand below a heading, up to the next one.
fn rows(spec: &str, heading: &str) -> Vec<Vec<String>> {
    let begin = format!("\n## {heading}\n");
    let section = spec.split(begin.as_str()).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    section.lines().filter(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

#[test]
fn scripts_are_those_of_the_broker() {
    let spec = read("SPEC.md");
    let scripts = blocks(&spec, "lua");
    for name in ["promote", "recover"] {
        let script = read(&format!("scripts/{name}.lua"));
        assert!(scripts.contains(&script.trim_end()), "{name}.lua is not in SPEC.md as the broker has it");
    }
    assert_eq!(scripts.len(), 2, "a script in SPEC.md that no file has");
}

#[test]
fn codes_are_those_of_the_crate() {
    let listed = rows(&read("SPEC.md"), "Codes");
    let known: Vec<_> = Code::ALL
        .iter()
        .map(|code| vec![format!("`{code}`"), code.http_status().to_string(), code.sentence().to_owned()])
        .collect();
    assert_eq!(listed, known);
}

#[test]
fn limits_are_those_of_the_crate() {
    let spec = rows(&read("SPEC.md"), "Limits");
    let listed = |name: &str| {
        let row = spec.iter().find(|row| row[2] == format!("`{name}`"));
        row.map(|row| row[1].clone()).unwrap_or_else(|| panic!("SPEC.md does not list {name}"))
    };
    let seconds = |duration: std::time::Duration| format!("{} s", duration.as_secs());
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let bytes = |bytes: usize| mib(u64::try_from(bytes).expect("bytes"));
    let durations = [
        ("HTTP_DEADLINE", limits::HTTP_DEADLINE),
        ("LEASE", limits::LEASE),
        ("BEAT", limits::BEAT),
        ("BLOCK", limits::BLOCK),
        ("BLOCK_ANSWER", limits::BLOCK_ANSWER),
        ("ABOUT", limits::ABOUT),
        ("GONE", limits::GONE),
        ("LOOKS_APART", limits::LOOKS_APART),
        ("LINK_SETTLED", limits::LINK_SETTLED),
        ("SERVED", limits::SERVED),
        ("PROBE", limits::PROBE),
        ("ID_MEMORY", limits::ID_MEMORY),
        ("SHORT_JOB", limits::SHORT_JOB),
    ];
    for (name, duration) in durations {
        assert_eq!(listed(name), seconds(duration), "{name}");
    }
    let counts = [
        ("LANE_JOBS_MAX", limits::LANE_JOBS_MAX),
        ("CANCELLED_IDS_MAX", limits::CANCELLED_IDS_MAX as u64),
        ("CANCEL_DEPTH_MAX", limits::CANCEL_DEPTH_MAX),
        ("DEAD_JOBS_MAX", limits::DEAD_JOBS_MAX as u64),
        ("ATTEMPTS_BACKGROUND", limits::ATTEMPTS_BACKGROUND),
        ("ATTEMPTS_WAITED", limits::ATTEMPTS_WAITED),
        ("ATTEMPTS_SAFE", limits::ATTEMPTS_SAFE),
        ("DEPTH_MAX", limits::DEPTH_MAX as u64),
    ];
    for (name, count) in counts {
        assert_eq!(listed(name).replace(',', ""), count.to_string(), "{name}");
    }
    assert_eq!(listed("REQUEST_BODY_BYTES_MAX"), bytes(limits::REQUEST_BODY_BYTES_MAX));
    assert_eq!(listed("REPLY_BYTES_MAX"), bytes(limits::REPLY_BYTES_MAX));
    assert_eq!(listed("LANE_BYTES_MAX"), mib(limits::LANE_BYTES_MAX));
    assert_eq!(listed("NO_WORKER"), format!("{} ms", limits::NO_WORKER.as_millis()));
    assert_eq!(listed("RUN_MAX"), format!("{} min", limits::RUN_MAX.as_secs() / 60));
    assert_eq!(listed("DEAD_AGE_MAX"), format!("{} days", limits::DEAD_AGE_MAX.as_secs() / 86_400));
    assert_eq!(listed("MEMORY_PERCENT_MAX"), format!("{} %", limits::MEMORY_PERCENT_MAX));
    assert_eq!((listed("INTEGER_MAX").as_str(), limits::INTEGER_MAX), ("2^53 − 1", 9_007_199_254_740_991));
}

#[test]
fn schedules_are_those_of_the_crate() {
    let spec = rows(&read("SPEC.md"), "Back-off");
    let ms = |cell: &str| cell.trim_end_matches(" ms").replace(',', "").parse::<u64>().expect("milliseconds");
    let listed: Vec<_> =
        spec.iter().map(|row| Backoff { base_ms: ms(&row[1]), cap_ms: ms(&row[2]) }).collect();
    assert_eq!(listed, [RECONNECT, RETRY]);
}

#[test]
fn sections_the_code_refers_to_exist() {
    let spec = read("SPEC.md");
    let headings: BTreeSet<&str> = spec
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches(['#', ' ']))
        .collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut references = 0;
    for entry in fs::read_dir(folder).expect("src") {
        let source = fs::read_to_string(entry.expect("a file").path()).expect("a source");
        for name in source.split("SPEC \"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(
                headings.contains(name),
                "the code refers to a section {name:?} that SPEC.md does not have"
            );
            references += 1;
        }
    }
    assert!(references > 0, "the code refers to no section");
}

#[test]
fn every_link_within_the_page_leads_somewhere() {
    let spec = read("SPEC.md");
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|char| char.is_alphanumeric() || *char == '-').collect::<String>()
    };
    let anchors: BTreeSet<String> = spec
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches(['#', ' '])))
        .collect();
    for link in spec.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.contains(link), "#{link} leads nowhere");
    }
}

#[test]
fn every_file_of_vectors_is_explained() {
    let spec = read("SPEC.md");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")).expect("vectors") {
        let name = entry.expect("a file").file_name().into_string().expect("a name");
        assert!(spec.contains(&name), "SPEC.md does not explain {name}");
    }
}
