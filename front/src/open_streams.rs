//! How many event streams are open. The limit is given with each question, so that it may change while streams are.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The event streams of a front. Clones count the same ones.
#[derive(Clone, Default)]
pub(crate) struct OpenStreams(Arc<AtomicUsize>);

/// An open stream. It counts until this is dropped.
pub(crate) struct StreamPermit(OpenStreams);

impl OpenStreams {
    /// One more; none if that would be more than `max`.
    pub(crate) fn open(&self, max: usize) -> Option<StreamPermit> {
        let more = |open: usize| (open < max).then_some(open + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(StreamPermit(self.clone()))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_limit_ends_no_stream_and_lets_none_in() {
        let streams = OpenStreams::default();
        let open: Vec<_> = (0..3).filter_map(|_| streams.open(3)).collect();
        assert_eq!((open.len(), streams.count()), (3, 3));
        assert!(streams.open(3).is_none() && streams.open(1).is_none());
        drop(open);
        assert_eq!(streams.count(), 0);
        assert!(streams.open(1).is_some() && streams.open(0).is_none());
    }
}
