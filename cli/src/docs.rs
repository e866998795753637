//! The page `docs/configuration.md`, from the same tables that read the configuration.

use crate::{
    file::{self, Entry, Shape},
    setting::{Kind, SETTINGS, Setting, used},
};

const HEAD: &str = "\
# Configuration

Printed by `tempest config --docs`; a test holds both equal. Each setting can be given on the command line, as a variable of the
environment, or in `tempest.toml`; in this order the first one counts. All mistakes are told at once, with file and line.
`tempest config` shows what is in force and where it comes from, `tempest init` writes a commented file.
";

const TABLES: &str = "
## Tables of the file

`[[route]]` says which requests go where; of several routes for one path the first that takes the method wins. Without any, `/sub/{topic…}`
is EventSource and all else goes to queue `default`. `[[worker]]` is what `tempest up` starts. `[[schedule]]` pushes a job again and again;
those of the file are written at the start and with each reload, those that left it are removed, and one that was paused by hand
stays paused. A file without any leaves schedules alone, but for those it had before a reload. `[[certificate]]`
are certificates of TLS besides that of `[tls]`; clients get the one for the name they ask for.
";

/// The page.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    let mut sections: Vec<&str> = Vec::new();
    for setting in SETTINGS {
        let (section, _) = setting.section_and_key();
        if !sections.contains(&section) {
            sections.push(section);
            page += &format!(
                "\n## [{section}]\n\n| key | option and variable | value | default | meaning |\n|---|---|---|---|---|\n"
            );
        }
        page += &row(setting);
    }
    page += TABLES;
    for (title, entries) in [
        ("[[route]]", file::ROUTE),
        ("[[worker]]", file::WORKER),
        ("[[schedule]]", file::SCHEDULE),
        ("[[certificate]]", file::CERTIFICATE),
    ] {
        page += &table(title, entries);
    }
    page
}

fn row(setting: &Setting) -> String {
    let Setting { flag, variable, default, doc, .. } = setting;
    let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
    let only = if setting.used_by == used::UP { " Only for `tempest up`." } else { "" };
    let (_, key) = setting.section_and_key();
    format!(
        "| `{key}` | `--{flag}` `{variable}` | {} | {default} | {}{only} |\n",
        value(setting.kind),
        cell(doc)
    )
}

fn value(kind: Kind) -> String {
    match kind {
        Kind::Integer { min, max } => format!("{min} to {max}"),
        Kind::Word(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::Addresses => "`host:port`, several".into(),
        Kind::Share => "0 to 1".into(),
        Kind::Text => "text".into(),
        Kind::Secret => "secret".into(),
        Kind::Path => "file".into(),
        Kind::Networks => "addresses and networks".into(),
        Kind::Fields => "header fields".into(),
        Kind::Url | Kind::HttpUrl => "URL".into(),
        Kind::Prefix | Kind::TopicPrefix => "prefix".into(),
        Kind::Filter => "filter".into(),
    }
}

fn table(title: &str, entries: &[Entry]) -> String {
    let mut text = format!("\n### {title}\n\n| key | value | meaning |\n|---|---|---|\n");
    for entry in entries {
        text += &format!("| `{}` | {} | {} |\n", entry.name, entry.shape.word(), cell(entry.doc));
    }
    for entry in entries {
        if let Shape::Table(inner) = entry.shape {
            text += &table(&format!("{title} `{}`", entry.name), inner);
        }
    }
    text
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_in_docs_is_this_one() {
        let written =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md"));
        assert!(
            written.is_ok_and(|written| written == super::page()),
            "docs/configuration.md is not what `tempest config --docs` prints; write it anew with that"
        );
    }
}
