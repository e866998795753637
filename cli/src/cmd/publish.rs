//! `tempest publish`

use std::io::Read;

use serde_json::json;

use crate::{
    args::PublishArgs,
    failure::Failure,
    output::{print, print_json},
};

pub(crate) async fn run(args: &PublishArgs) -> Result<(), Failure> {
    let payload = match &args.data {
        Some(data) => data.clone().into_bytes(),
        None => from_stdin()?,
    };
    let broker = super::connect(&args.flags).await?;
    let channel = format!("{}{}", broker.settings().topic_prefix, args.topic);
    if !broker.keys().subscribable(&channel) {
        return Err(Failure::usage([format!(
            "nobody can ever subscribe to {channel}: its name is Tempest's own"
        )]));
    }
    let heard = broker.publish(&args.topic, &payload).await?;
    if args.as_json {
        return print_json(&json!({ "topic": args.topic.as_str(), "heard": heard }));
    }
    print(format!("heard by {heard}\n").as_bytes())
}

/// Everything, without the line end that `echo` adds.
fn from_stdin() -> Result<Vec<u8>, Failure> {
    let mut payload = Vec::new();
    std::io::stdin()
        .read_to_end(&mut payload)
        .map_err(|error| Failure::new(format!("cannot read standard input: {error}")))?;
    if payload.ends_with(b"\n") {
        payload.pop();
    }
    if payload.ends_with(b"\r") {
        payload.pop();
    }
    Ok(payload)
}
