//! Starts processes in a thread that lives as long as this process: a host asks the kernel to be killed when the thread that
//! has started it ends (`python/__main__.py`), and threads of the runtime come and go.

use std::io;
use std::sync::{OnceLock, mpsc};

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

struct Order {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

static ORDERS: OnceLock<mpsc::Sender<Order>> = OnceLock::new();

/// Starts a process. It is one of the runtime that this is called in.
///
/// # Errors
/// When it can't be started.
pub(crate) async fn spawn(command: Command) -> io::Result<Child> {
    let gone = || io::Error::other("the thread that starts processes has ended");
    let (reply, child) = oneshot::channel();
    let order = Order { command, runtime: Handle::current(), reply };
    ORDERS.get_or_init(begin).send(order).map_err(|_| gone())?;
    child.await.map_err(|_| gone())?
}

/// Should there be no thread, sending says so.
fn begin() -> mpsc::Sender<Order> {
    let (sender, orders) = mpsc::channel::<Order>();
    let started = std::thread::Builder::new().name("python-hosts".to_owned()).spawn(move || {
        for mut order in orders {
            let _context = order.runtime.enter();
            // Whoever does not wait any more lets the process go, which kills it.
            drop(order.reply.send(order.command.spawn()));
        }
    });
    if let Err(error) = started {
        tracing::error!(%error, "no thread can be started for Python hosts");
    }
    sender
}
