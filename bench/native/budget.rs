// A counted budget with the semantics of the seed's AtomicBudget: one word, compare-and-swap, released up to capacity.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

pub struct Budget {
    capacity: u64,
    available: AtomicU64,
}

impl Budget {
    pub fn new(capacity: u64) -> Self {
        Budget { capacity, available: AtomicU64::new(capacity) }
    }

    pub fn try_reserve(&self, cost: u64) -> bool {
        let mut seen = self.available.load(Ordering::Acquire);
        while seen >= cost {
            match self.available.compare_exchange_weak(seen, seen - cost, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    pub fn release(&self, cost: u64) {
        let mut seen = self.available.load(Ordering::Acquire);
        loop {
            let next = seen.saturating_add(cost).min(self.capacity);
            match self.available.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }
}

pub fn reserve_and_release(budget: &Budget, operations: u64) -> u64 {
    let mut granted = 0;
    for i in 0..operations {
        let cost = black_box(1 + (i & 7));
        if budget.try_reserve(cost) {
            budget.release(cost);
            granted += 1;
        }
    }
    granted
}
