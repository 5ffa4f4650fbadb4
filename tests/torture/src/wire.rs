//! A wire between two processes that can be cut: bytes stay on it until it is mended, as in a network that is partitioned,
//! or connections break at whatever they carry.
//!
//! A namespace of the kernel would do the same to all wires of a process at once, but needs rights that tests don't always
//! have, and can't take one wire and leave the other.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use muster_tests::Site;

/// A wire. It listens for as long as this process lives.
pub struct Wire {
    /// Where it begins.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    is_cut: Mutex<bool>,
    mended: Condvar,
    ends: Mutex<Vec<TcpStream>>,
}

impl Wire {
    /// A wire that leads to `to`.
    pub fn to(to: SocketAddr) -> Wire {
        let listener = TcpListener::bind((Site::address(), Site::free_port())).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to,
            is_cut: Mutex::new(false),
            mended: Condvar::new(),
            ends: Mutex::default(),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        Wire { address, shared }
    }

    /// Where it leads to.
    pub fn leads_to(&self) -> SocketAddr {
        self.shared.to
    }

    /// Nothing gets through any more, and nobody is told.
    pub fn cut(&self) {
        *self.shared.is_cut.lock().unwrap() = true;
    }

    /// Everything gets through again, also what was held up.
    pub fn mend(&self) {
        *self.shared.is_cut.lock().unwrap() = false;
        self.shared.mended.notify_all();
    }

    /// Ends all connections, whatever is on its way.
    pub fn sever(&self) {
        for end in self.shared.ends.lock().unwrap().drain(..) {
            // The other side may have ended it.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn serve(self: Arc<Shared>, client: TcpStream) {
        self.wait();
        let Ok(server) = TcpStream::connect(self.to) else { return };
        let clones = [client.try_clone(), server.try_clone(), client.try_clone(), server.try_clone()];
        let [Ok(client_2), Ok(server_2), Ok(client_3), Ok(server_3)] = clones else { return };
        self.ends.lock().unwrap().extend([client_3, server_3]);
        let back = self.clone();
        std::thread::spawn(move || back.carry(server_2, client_2));
        self.carry(client, server);
    }

    fn wait(&self) {
        let cut = self.is_cut.lock().unwrap();
        drop(self.mended.wait_while(cut, |cut| *cut).unwrap());
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 65536];
        // Latency is not what is tested.
        let _ = to.set_nodelay(true);
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            self.wait();
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        self.wait();
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
