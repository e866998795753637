//! `tempest reload`

use crate::{
    args::ReloadArgs,
    failure::Failure,
    orders::{Order, give},
};

pub(crate) async fn run(args: &ReloadArgs) -> Result<(), Failure> {
    give(&Order::Reload { workers: args.workers.clone() }).await
}
