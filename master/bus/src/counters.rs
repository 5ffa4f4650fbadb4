//! What the bus counts.

use muster_router_compat::counters;

counters! {
    /// Counters since the start; all only grow.
    pub(crate) struct Counters;

    /// Events that this process told its own subscribers.
    published = counter!("muster_bus_published_total"),
    /// Publications handed to the router: one for each name of an event.
    sent = counter!("muster_bus_sent_total"),
    /// Events of other masters.
    received = counter!("muster_bus_received_total"),
    /// Events that others did not hear of because the router was away.
    dropped_router_away = counter!("muster_bus_dropped_router_away_total"),
    /// Events that others did not hear of because the router took them too slowly.
    dropped_queue_full = counter!("muster_bus_dropped_queue_full_total"),
    /// Publications that the router refused, of those that are acknowledged (one of each lot).
    publications_refused = counter!("muster_bus_publications_refused_total"),
    /// Messages of the router that are no events of a master.
    not_understood = counter!("muster_bus_not_understood_total"),
    /// Sessions with the router that opened: each one after the first is a reconnection.
    sessions = counter!("muster_bus_sessions_total"),
    /// Sessions that ended though nobody wanted that.
    sessions_lost = counter!("muster_bus_sessions_lost_total"),
    /// Sessions that ended, or did not open, because what came is no WAMP.
    protocol_violations = counter!("muster_bus_protocol_violations_total"),
    /// Attempts that did not reach a router.
    dials_failed = counter!("muster_bus_dials_failed_total"),
    /// Attempts that the router refused.
    dials_refused = counter!("muster_bus_dials_refused_total"),
}
