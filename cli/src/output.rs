//! What is printed: lines of workers behind their name, tables, and what is shown again each second.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use tempest_supervisor::{Line, Origin};
use tokio::sync::mpsc;

use crate::{failure::Failure, signals::Signals};

/// With `--watch` something is shown this often.
const AGAIN: Duration = Duration::from_secs(1);
/// Makes a terminal empty.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";
/// Lines that may wait to be printed.
const WAITING_LINES: usize = 1_024;

/// Prints lines of workers as they come, until the last sender is gone.
pub(crate) fn printer(width: usize) -> (mpsc::Sender<Line>, tokio::task::JoinHandle<()>) {
    let (sender, mut lines) = mpsc::channel::<Line>(WAITING_LINES);
    let colours = std::io::stdout().is_terminal();
    let task = tokio::spawn(async move {
        let mut batch = Vec::new();
        while lines.recv_many(&mut batch, WAITING_LINES).await > 0 {
            let text: String = batch.drain(..).map(|line| prefixed(&line, width, colours)).collect();
            // Nobody reads any more: the workers run on.
            std::io::stdout().lock().write_all(text.as_bytes()).ok();
        }
    });
    (sender, task)
}

fn prefixed(line: &Line, width: usize, colours: bool) -> String {
    let Line { label, origin, text } = line;
    let mark = if *origin == Origin::Supervisor { "*" } else { "|" };
    if colours {
        let colour =
            31 + label.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(7).wrapping_add(byte.into())) % 6;
        format!("\u{1b}[{colour}m{label:width$} {mark}\u{1b}[0m {text}\n")
    } else {
        format!("{label:width$} {mark} {text}\n")
    }
}

/// Prints text or bytes as they are.
///
/// Errors: standard output cannot be written. That nobody reads it any more is none.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if !is_unread(&error) => Err(Failure::new(format!("cannot print: {error}"))),
        _ => Ok(()),
    }
}

/// Whether a pipe or a terminal has nobody at its other end.
fn is_unread(error: &std::io::Error) -> bool {
    let closed_terminal = Some(rustix::io::Errno::IO.raw_os_error());
    error.kind() == std::io::ErrorKind::BrokenPipe || error.raw_os_error() == closed_terminal
}

/// Prints a value as JSON and a line end.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(format!("{value:#}\n").as_bytes())
}

/// Prints rows below their headings, as [`table`] makes them.
pub(crate) fn print_table(headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    print(table(headings, rows).as_bytes())
}

/// Prints a text anew each second, until Ctrl-C. What goes wrong is printed instead, and tried again.
pub(crate) async fn show_again(look: impl AsyncFn() -> Result<String, Failure>) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
    loop {
        let trying_on =
            |failure: Failure| failure.lines().map(|line| format!("{line}; trying on\n")).collect();
        let text: String = look().await.unwrap_or_else(trying_on);
        print(format!("{clear}{text}\n").as_bytes())?;
        if signals.stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
            return Ok(());
        }
    }
}

/// What stands for something that is not there.
pub(crate) fn absent() -> String {
    "-".to_owned()
}

/// A text of somebody's own in one line, fit for a terminal: so many characters at most.
pub(crate) fn fit(text: &str, characters_max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut letters = line.chars().filter(|letter| !letter.is_control());
    let fitting: String = letters.by_ref().take(characters_max).collect();
    if letters.next().is_some() { fitting + "…" } else { fitting }
}

/// A time in a short form.
pub(crate) fn span(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Rows below their headings; columns of numbers are aligned to the right.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or_default()
    };
    let is_number =
        |column: usize| rows.iter().all(|row| row[column].bytes().all(|byte| byte.is_ascii_digit()));
    let line = |cells: &[String]| {
        let cells = cells.iter().enumerate().map(|(column, cell)| match is_number(column) {
            true => format!("{cell:>0$}", width(column)),
            false => format!("{cell:<0$}", width(column)),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let headings: Vec<_> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    std::iter::once(&headings).chain(rows).map(|row| line(row)).collect()
}
