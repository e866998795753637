//! `tempest scale`

use crate::{
    args::ScaleArgs,
    failure::Failure,
    orders::{Order, give},
};

pub(crate) async fn run(args: &ScaleArgs) -> Result<(), Failure> {
    give(&Order::Scale { worker: args.worker.clone(), count: args.count.into() }).await
}
