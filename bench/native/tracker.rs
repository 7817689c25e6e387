// Tokens in flight per tenant with the semantics of the seed's TenantTokenTracker: a map behind a lock, a reservation
// that owns the tracker and the tenant's name and gives back when it is dropped.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, RwLock};

#[derive(Default)]
struct Tenant {
    in_flight: usize,
    high_water: usize,
}

pub struct Tracker {
    tenants: RwLock<HashMap<String, Tenant>>,
    cap: usize,
}

pub struct Reservation {
    tracker: Arc<Tracker>,
    tenant: String,
    tokens: usize,
}

impl Tracker {
    pub fn new(cap: usize) -> Arc<Self> {
        Arc::new(Tracker { tenants: RwLock::new(HashMap::new()), cap })
    }

    pub fn reserve(self: &Arc<Self>, tenant: &str, tokens: usize) -> Option<Reservation> {
        let name = tenant.to_string();
        let mut tenants = self.tenants.write().expect("nobody panics while holding the lock");
        let state = tenants.entry(name.clone()).or_default();
        if state.in_flight.saturating_add(tokens) > self.cap {
            return None;
        }
        state.in_flight += tokens;
        state.high_water = state.high_water.max(state.in_flight);
        Some(Reservation { tracker: Arc::clone(self), tenant: name, tokens })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut tenants = self.tracker.tenants.write().expect("nobody panics while holding the lock");
        if let Some(state) = tenants.get_mut(&self.tenant) {
            state.in_flight = state.in_flight.saturating_sub(self.tokens);
        }
    }
}

pub fn reserve_and_drop(tracker: &Arc<Tracker>, operations: u64) -> u64 {
    let mut granted = 0;
    for i in 0..operations {
        let tokens = black_box(1 + (i & 7)) as usize;
        if let Some(reservation) = black_box(tracker.reserve(black_box("acme"), tokens)) {
            drop(reservation);
            granted += 1;
        }
    }
    granted
}
