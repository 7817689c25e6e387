// Permits in two layers with the semantics of the seed's ConcurrencyGovernor, on counters of std in place of an async
// runtime's semaphores: a permit is one of the whole and one of its category, both given back when it is dropped.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

struct Semaphore {
    free: AtomicUsize,
}

/// One permit of one semaphore.
struct Owned(Arc<Semaphore>);

impl Semaphore {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Semaphore { free: AtomicUsize::new(permits) })
    }

    fn try_acquire(self: &Arc<Self>) -> Option<Owned> {
        let mut seen = self.free.load(Ordering::Acquire);
        while seen > 0 {
            match self.free.compare_exchange_weak(seen, seen - 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(Owned(Arc::clone(self))),
                Err(now) => seen = now,
            }
        }
        None
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::AcqRel);
    }
}

pub struct Permit {
    _category: Owned,
    _total: Owned,
}

pub struct Governor {
    tools: Arc<Semaphore>,
    total: Arc<Semaphore>,
}

impl Governor {
    pub fn new(tools: usize, total: usize) -> Self {
        Governor { tools: Semaphore::new(tools), total: Semaphore::new(total) }
    }

    /// When the category has none, what was taken of the whole is dropped again.
    pub fn try_acquire_tool(&self) -> Option<Permit> {
        let total = self.total.try_acquire()?;
        Some(Permit { _category: self.tools.try_acquire()?, _total: total })
    }
}

pub fn acquire_and_drop(governor: &Governor, operations: u64) -> u64 {
    let mut granted = 0;
    for _ in 0..operations {
        if let Some(permit) = black_box(governor.try_acquire_tool()) {
            drop(permit);
            granted += 1;
        }
    }
    granted
}
