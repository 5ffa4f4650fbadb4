//! Cutting masters off, by whatever there is between them and the others.

use std::collections::BTreeSet;

use crate::cluster::{Cluster, Link};
use crate::network::{Direction, Peer};

impl Cluster {
    /// Cuts a master off from some others; says what was done. Wires know workers and the database only, and no direction.
    pub fn cut(&self, master: usize, from: &BTreeSet<Peer>, direction: Direction) -> String {
        let names =
            |peers: &BTreeSet<Peer>| peers.iter().map(|peer| peer.name()).collect::<Vec<_>>().join(" and ");
        match &self.masters[master].link {
            Link::Direct => "can't be cut off".to_owned(),
            Link::Wires { door, database } => {
                let both = BTreeSet::from([Peer::Workers, Peer::Database]);
                let known: BTreeSet<Peer> = from.intersection(&both).copied().collect();
                let cut = if known.is_empty() { both } else { known };
                for peer in &cut {
                    let wire = if *peer == Peer::Database { database } else { door };
                    wire.cut();
                }
                format!("and {}", names(&cut))
            }
            Link::Cell(cell) => {
                let network = self.network.as_ref().expect("a cell has a network");
                network.cut(*cell, from, direction).expect("packets vanish");
                match direction {
                    Direction::Both => format!("and {}", names(from)),
                    Direction::From => format!("is not heard by {}", names(from)),
                    Direction::To => format!("does not hear {}", names(from)),
                }
            }
        }
    }

    /// Ends what [`Cluster::cut`] began.
    pub fn rejoin(&self, master: usize) {
        match &self.masters[master].link {
            Link::Direct => {}
            Link::Wires { door, database } => {
                door.mend();
                database.mend();
            }
            Link::Cell(cell) => {
                let network = self.network.as_ref().expect("a cell has a network");
                network.mend(*cell).expect("packets get through again");
            }
        }
    }

    /// Ends all connections of a master to the database, whatever is on its way.
    pub fn sever_database(&self, master: usize) {
        let master = &self.masters[master];
        match &master.link {
            Link::Direct => {}
            Link::Wires { database, .. } => database.sever(),
            Link::Cell(_) => {
                // A database that is away has no connections to end.
                let _ = self.ask(&format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_addr = '{}'",
                    master.web.ip()
                ));
            }
        }
    }

    /// Starts the next life of a master.
    pub fn start_master(&mut self, master: usize) {
        self.masters[master].start(self.network.as_ref());
    }
}
