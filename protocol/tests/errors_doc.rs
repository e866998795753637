//! `docs/errors.md` names every code with its status, and no other.

use tempest_protocol::Code;

#[test]
fn the_page_and_the_code_agree() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md")).unwrap();
    let rows: Vec<(String, String)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let mut cells = row.split('|').map(|cell| cell.trim().trim_end_matches('`').to_owned());
            (cells.next().unwrap(), cells.next().unwrap())
        })
        .collect();
    let codes: Vec<_> =
        Code::ALL.iter().map(|code| (code.as_str().to_owned(), code.http_status().to_string())).collect();
    assert_eq!(rows, codes);
}
