//! Many EventSource clients in one lean process: opens them, publishes events at fixed times, and counts what is heard.
//!
//! An event carries its number and the time it was due. Its latency is counted from that time, not from when it was
//! sent: a publisher that is held up by the server does not hide the wait (coordinated omission). The server is any
//! that speaks EventSource over plain HTTP/1.1; the publisher speaks `PUBLISH` to a Redis or `POST` to an HTTP server.

mod args;
mod crowd;
mod echo;
mod figures;
mod hearing;
mod probe;
mod publisher;
mod run;
mod stamp;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match run::run(&args) {
        Ok(figures) => {
            println!("{}", figures.line());
            if figures.complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("audience: {error:#}");
            ExitCode::from(2)
        }
    }
}
