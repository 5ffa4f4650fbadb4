//! What the router counts.

use crate::counters;

counters! {
    /// Counters since the start; all only grow.
    pub struct RouterMetrics;

    /// Connections that were accepted.
    connections = counter!("muster_router_connections_total"),
    /// Connections that were closed because there were too many.
    connections_refused = counter!("muster_router_connections_refused_total"),
    /// Connections that ended before they were WebSockets of WAMP: another protocol, TLS that failed, silence.
    connections_failed = counter!("muster_router_connections_failed_total"),
    /// Sessions that joined a realm.
    sessions_joined = counter!("muster_router_sessions_joined_total"),
    /// Openings that were refused: wrong realm, wrong authentication.
    sessions_refused = counter!("muster_router_sessions_refused_total"),
    /// Sessions that ended.
    sessions_left = counter!("muster_router_sessions_left_total"),
    /// Peers that broke the protocol: garbage, oversized frames, messages out of order.
    protocol_violations = counter!("muster_router_protocol_violations_total"),
    /// Peers that stayed silent.
    peers_timed_out = counter!("muster_router_peers_timed_out_total"),
    /// Peers that did not read even answers.
    peers_too_slow = counter!("muster_router_peers_too_slow_total"),
    /// Publications that were accepted.
    publications = counter!("muster_router_publications_total"),
    /// Publications that were refused.
    publications_refused = counter!("muster_router_publications_refused_total"),
    /// Events that were handed to subscribers.
    events = counter!("muster_router_events_total"),
    /// Events that were dropped because their subscriber did not read.
    events_dropped = counter!("muster_router_events_dropped_total"),
    /// Subscriptions that were refused.
    subscriptions_refused = counter!("muster_router_subscriptions_refused_total"),
    /// Calls that reached a procedure.
    calls = counter!("muster_router_calls_total"),
    /// Calls that were refused, or whose procedure went away.
    calls_failed = counter!("muster_router_calls_failed_total"),
}
