//! The file in which a worker writes what it does. Each line is one write at the end of the file, so that a process that is
//! killed leaves whole lines.

use std::{
    env,
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;

/// What happened to an order.
#[derive(Clone, Copy)]
pub(crate) enum What {
    Start,
    End,
    Fail,
}

/// `CHAOS_EVIDENCE/CHAOS_WORKER-PID`, opened to append.
pub(crate) struct Evidence {
    file: File,
    worker: String,
}

impl Evidence {
    /// Errors: a variable that is missing, a folder that cannot be written.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let folder = env::var("CHAOS_EVIDENCE").context("CHAOS_EVIDENCE names no folder")?;
        let worker = env::var("CHAOS_WORKER").context("CHAOS_WORKER names nobody")?;
        let path = Path::new(&folder).join(format!("{worker}-{}", process::id()));
        let file = OpenOptions::new().append(true).create(true).open(&path);
        Ok(Self { file: file.with_context(|| path.display().to_string())?, worker })
    }

    /// `what ms worker pid id attempt payload`.
    pub(crate) fn write(&self, what: What, id: &str, attempt: u64, payload: &str) -> std::io::Result<()> {
        let what = match what {
            What::Start => "start",
            What::End => "end",
            What::Fail => "fail",
        };
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let (worker, pid) = (&self.worker, process::id());
        let line = format!("{what} {ms} {worker} {pid} {id} {attempt} {payload}\n");
        (&self.file).write_all(line.as_bytes())
    }
}
