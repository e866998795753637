//! Mutates the vectors and feeds them to every decoder. What it finds it prints with the seed that makes it again:
//!
//! ```text
//! cargo run -p tempest-protocol-fuzz -- --seconds 5
//! cargo run -p tempest-protocol-fuzz -- --seed 1234 --iterations 1
//! cargo run -p tempest-protocol-fuzz -- --hex 7b7d
//! ```
//!
//! Not here: coverage guidance. It finds slips in what the vectors touch, in seconds, on the stable toolchain.

mod corpus;
mod mutate;
mod target;

use std::{
    panic,
    process::ExitCode,
    time::{Duration, Instant},
};

use fastrand::Rng;

const USAGE: &str = "usage: tempest-protocol-fuzz [--seconds N] [--iterations N] [--seed N] [--hex BYTES]

  --seconds N      stop after N seconds (default 5)
  --iterations N   stop after N inputs, whatever they take
  --seed N         begin with this seed (default: drawn); input i is made of seed N + i
  --hex BYTES      try these bytes only";

/// One decode may take this long; more is a finding.
const INPUT_TIME_MAX: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(options) => run(&options),
        Err(wrong) => {
            eprintln!("{wrong}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> ExitCode {
    // The target reports; the default hook would print each panic once more.
    panic::set_hook(Box::new(|_| {}));
    if let Some(input) = &options.input {
        return conclude(try_input(input).map(|()| "nothing found".to_owned()));
    }
    let corpus = corpus::load();
    println!("seed {}, {} inputs to mutate", options.seed, corpus.len());
    let begin = Instant::now();
    let mut iterations = 0;
    while !options.is_over(iterations, begin.elapsed()) {
        let seed = options.seed.wrapping_add(iterations);
        let input = mutate::mutated(&corpus, &mut Rng::with_seed(seed));
        if let Err(found) = try_input(&input) {
            return conclude(Err(format!("{found}\nagain with: --seed {seed} --iterations 1")));
        }
        iterations += 1;
    }
    conclude(Ok(format!("{iterations} inputs in {:.1} s, nothing found", begin.elapsed().as_secs_f64())))
}

fn conclude(outcome: Result<String, String>) -> ExitCode {
    match outcome {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(found) => {
            eprintln!("{found}");
            ExitCode::FAILURE
        }
    }
}

/// Feeds one input to every decoder; the error says what happened and holds the input.
fn try_input(input: &[u8]) -> Result<(), String> {
    let begin = Instant::now();
    let outcome = panic::catch_unwind(|| target::check(input));
    let found = match outcome {
        Err(panicked) => format!("panic: {}", message(panicked.as_ref())),
        Ok(Err(broken)) => format!("broken promise: {broken}"),
        Ok(Ok(())) if begin.elapsed() > INPUT_TIME_MAX => format!("it took {:?}", begin.elapsed()),
        Ok(Ok(())) => return Ok(()),
    };
    Err(format!("{found}\ninput: {}", corpus::hex(input)))
}

fn message(panicked: &(dyn std::any::Any + Send)) -> &str {
    let text = panicked.downcast_ref::<String>().map(String::as_str);
    text.or(panicked.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

struct Options {
    seed: u64,
    seconds: u64,
    iterations: Option<u64>,
    input: Option<Vec<u8>>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { seed: fastrand::u64(..), seconds: 5, iterations: None, input: None };
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|error| format!("{name} {value}: {error}"));
            match name.as_str() {
                "--seed" => options.seed = number()?,
                "--seconds" => options.seconds = number()?,
                "--iterations" => options.iterations = Some(number()?),
                "--hex" => options.input = Some(corpus::unhex(&value).ok_or("--hex needs pairs of digits")?),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        Ok(options)
    }

    fn is_over(&self, iterations: u64, elapsed: Duration) -> bool {
        match self.iterations {
            Some(most) => iterations >= most,
            None => elapsed >= Duration::from_secs(self.seconds),
        }
    }
}
