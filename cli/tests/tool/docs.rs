//! The pages in `docs/`: what they name is there.

use std::path::{Path, PathBuf};

use crate::shop::Shop;

/// Sections whose keys are written with them. Not `redis`: checks of `tempest doctor` are named like that.
const SECTIONS: [&str; 7] = ["front", "http", "tls", "admin", "supervisor", "trace", "log"];
/// What looks like a setting: a field of the status page, an attribute of spans.
const OTHERS: [&str; 2] = ["front.reasons", "http.route"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every page below a folder.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => pages(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect()
}

#[test]
fn every_setting_that_a_page_names_is_one() {
    let told = Shop::new().call(&["config", "--json"]).json();
    let settings = told["settings"].as_object().unwrap();
    let mut named = 0;
    for page in pages(&root().join("docs")) {
        let text = std::fs::read_to_string(&page).unwrap();
        let words = text.split('`').skip(1).step_by(2).flat_map(|code| code.split([' ', ',', '=', '(', ')']));
        for word in words {
            let is_key =
                |key: &str| !key.is_empty() && key.bytes().all(|it| it.is_ascii_lowercase() || it == b'_');
            match word.split_once('.') {
                Some((section, key))
                    if SECTIONS.contains(&section) && is_key(key) && !OTHERS.contains(&word) =>
                {
                    assert!(settings.contains_key(word), "{}: there is no setting {word}", page.display());
                    named += 1;
                }
                _ => {}
            }
        }
    }
    assert!(named > 30, "the pages were not read: {named}");
}

#[test]
fn every_link_in_a_page_leads_somewhere() {
    let mut followed = 0;
    for page in [pages(&root().join("docs")), pages(&root().join("deploy"))].concat() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                let target = page.parent().unwrap().join(path);
                assert!(target.exists(), "{}: {link} leads nowhere", page.display());
                followed += 1;
            }
        }
    }
    assert!(followed > 20, "the pages were not read: {followed}");
}

#[test]
fn every_page_is_in_the_index() {
    let docs = root().join("docs");
    let index = std::fs::read_to_string(docs.join("README.md")).unwrap();
    for page in pages(&docs) {
        let path = page.strip_prefix(&docs).unwrap().display().to_string();
        assert!(
            path == "README.md" || index.contains(&format!("({path})")),
            "docs/README.md does not name {path}"
        );
    }
}
