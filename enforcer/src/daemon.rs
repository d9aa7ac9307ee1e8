//! `enforcer run`: the controller as a service.
//!
//! Nothing is put on a port before everything else that can fail was tried: the policy compiles, the pins are locked,
//! the addresses are taken, the event output is open.

use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aya_log::EbpfLogger;
use sd_notify::NotifyState;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::audit::Who;
use crate::bindings;
use crate::config::{Config, EventOutput};
use crate::control::{self, Change, Command, Order};
use crate::controller::{Controller, Failure, read_policy};
use crate::events::{self, Output};
use crate::http;
use crate::kernel::Error;
use crate::kernel::generation::typed;
use crate::learn;
use crate::metrics::{self, Metrics};
use crate::silence;
use crate::state::State;

/// How often the ports are looked at, and the service manager's watchdog is told.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Runs until a signal or `enforcer detach` ends it.
pub async fn run(config: Config) -> Result<(), Failure> {
    let keep = config.keep_enforcing_on_exit;
    let signals = Signals::new().map_err(|error| Error::system("listening for signals", error))?;
    let policy = read_policy(&config);
    let state = Arc::new(State::new(&config));
    let mut controller = Controller::open(config.clone(), Arc::clone(&state))?;
    let doors = Doors::open(&config).await?;
    controller.start(policy)?;

    let (orders, commands) = mpsc::channel(16);
    let mut daemon = Daemon {
        controller: Some(controller),
        output: Arc::new(doors.output),
        runtime_directory: config.runtime_directory.clone(),
        clients: tokio::spawn(control::serve(doors.control, Arc::clone(&state), orders.clone())),
        orders,
        state,
        reads_rings: false,
    };
    daemon.read_rings()?;
    daemon.read_log();
    if let Some(listener) = doors.metrics {
        let metrics = Metrics::new(Arc::clone(&daemon.state)).map_err(|error| Error::Object(error.to_string()))?;
        tokio::spawn(metrics::sweep(Arc::clone(&daemon.state)));
        tokio::spawn(http::serve(listener, Arc::clone(&daemon.state), Arc::new(metrics)));
    }
    daemon.state.learned.adopt();
    tokio::spawn(learn::keep(Arc::clone(&daemon.state)));
    tokio::spawn(silence::keep(Arc::clone(&daemon.state), Arc::clone(&daemon.output)));
    daemon.announce();
    let end = daemon.serve(signals, commands).await?;
    daemon.end(end, keep).await
}

/// What the daemon listens on and writes to, opened before anything is attached.
struct Doors {
    metrics: Option<TcpListener>,
    control: UnixListener,
    output: Output,
}

impl Doors {
    async fn open(config: &Config) -> Result<Self, Error> {
        let output = Output::open(&config.events.output).map_err(|error| output_error(&config.events.output, error))?;
        let metrics = match config.metrics {
            Some(address) => Some(
                http::bind(address)
                    .await
                    .map_err(|error| metrics_error(address, &error))?,
            ),
            None => None,
        };
        let directory = &config.runtime_directory;
        let control = control::bind(directory).map_err(|error| control_error(directory, error))?;
        Ok(Self {
            metrics,
            control,
            output,
        })
    }
}

fn output_error(output: &EventOutput, error: io::Error) -> Error {
    let place = match output {
        EventOutput::File(path) => path.display().to_string(),
        _ => "the event output".to_owned(),
    };
    Error::system(format!("opening {place}, which `path` under [events] names"), error)
}

fn metrics_error(address: SocketAddr, error: &io::Error) -> Error {
    Error::Environment(format!(
        "cannot serve metrics at {address}: {error}. See who has the port (`ss -ltnp`), or choose another: `listen` under [metrics] in enforcer.toml"
    ))
}

fn control_error(directory: &Path, error: io::Error) -> Error {
    let path = control::socket_path(directory);
    match error.kind() {
        io::ErrorKind::AddrInUse => Error::Environment(format!(
            "another enforcer answers at {}: give this one its own `runtime_directory` in enforcer.toml",
            path.display()
        )),
        _ => Error::system(format!("making the control socket {}", path.display()), error),
    }
}

struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Why the daemon ends.
enum End {
    /// A signal.
    Signal,
    /// `enforcer detach`: everything is detached already.
    Detached,
}

struct Daemon {
    /// Lent to a thread while it works, so that the page and the socket stay awake.
    controller: Option<Controller>,
    state: Arc<State>,
    output: Arc<Output>,
    /// Of the control socket, which is removed at the end.
    runtime_directory: PathBuf,
    /// Answers at the control socket.
    clients: JoinHandle<()>,
    /// Where it brings what changes anything.
    orders: mpsc::Sender<Command>,
    /// False until a policy of this controller is in force.
    reads_rings: bool,
}

impl Daemon {
    async fn serve(&mut self, mut signals: Signals, mut commands: mpsc::Receiver<Command>) -> Result<End, Failure> {
        let mut ticks = interval(WATCH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(End::Signal),
                _ = signals.interrupt.recv() => return Ok(End::Signal),
                _ = signals.reload.recv() => {
                    self.output.reopen();
                    let _ = self.obey(None, Change::of(Order::Reload)).await?;
                }
                Some(Command { by, change, result }) = commands.recv() => {
                    if change.order != Order::Detach {
                        let _ = result.send(self.obey(Some(by), change).await?.map(|()| Vec::new()));
                        continue;
                    }
                    let detached = self.detach(Some(by), change.comment).await;
                    let _ = result.send(detached.as_ref().map(Clone::clone).map_err(ToString::to_string));
                    // The answer is on its way when the socket's task had its turn.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    return detached.map(|_| End::Detached).map_err(Failure::from);
                }
                _ = ticks.tick() => {
                    if self.with(Controller::watch).await? {
                        self.read_log();
                        self.announce();
                    }
                    self.keep_reachable();
                    notify(&[NotifyState::Watchdog]);
                }
            }
        }
    }

    /// Makes the control socket again when somebody removed it.
    fn keep_reachable(&mut self) {
        if control::socket_path(&self.runtime_directory).exists() {
            return;
        }
        match control::bind(&self.runtime_directory) {
            Ok(listener) => {
                tracing::error!("somebody removed the control socket: made it again");
                self.clients.abort();
                let (state, orders) = (Arc::clone(&self.state), self.orders.clone());
                self.clients = tokio::spawn(control::serve(listener, state, orders));
            }
            Err(error) => tracing::debug!("the control socket is gone, and cannot be made again: {error}"),
        }
    }

    /// Lends the controller to a thread that may block.
    async fn with<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Controller) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let gone = || Error::Environment("the controller broke down; enforcement goes on as it is".to_owned());
        let mut controller = self.controller.take().ok_or_else(gone)?;
        let worked = tokio::task::spawn_blocking(move || {
            let result = work(&mut controller);
            (controller, result)
        });
        let (controller, result) = worked.await.map_err(|_| gone())?;
        self.controller = Some(controller);
        Ok(result)
    }

    /// Changes the policy in force. The inner result is for who asked.
    async fn obey(&mut self, by: Option<Who>, change: Change) -> Result<Result<(), String>, Error> {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(_) => notify(&[NotifyState::Reloading]),
        }
        let result = self.with(move |controller| controller.obey(by, &change)).await?;
        if let Err(error) = &result {
            tracing::error!("nothing was changed, the running policy stays in force:\n{error}");
        } else {
            self.read_rings()?;
            self.read_log();
        }
        self.announce();
        Ok(result.map_err(|error| error.to_string()))
    }

    async fn detach(&mut self, by: Option<Who>, comment: String) -> Result<Vec<String>, Error> {
        let Some(controller) = self.controller.take() else {
            return Ok(Vec::new());
        };
        let detached = tokio::task::spawn_blocking(move || controller.detach(by, &comment)).await;
        detached.unwrap_or_else(|error| Err(Error::Environment(format!("detaching broke down: {error}"))))
    }

    /// Tells the service manager, and the log on the first time, that enforcement is live.
    fn announce(&self) {
        let status = self.state.status();
        let Some(generation) = &status.generation else {
            return;
        };
        let ports: Vec<&str> = status
            .ports
            .iter()
            .filter(|port| port.attached)
            .map(|port| port.name.as_str())
            .collect();
        let line = format!("enforcing generation {} on {}", generation.number, ports.join(", "));
        notify(&[NotifyState::Ready, NotifyState::Status(&line)]);
        tracing::info!("{line}");
    }

    /// Reads both rings of the kernel program, from its first policy on.
    fn read_rings(&mut self) -> Result<(), Error> {
        if self.reads_rings {
            return Ok(());
        }
        let Some(generation) = self.controller.as_mut().and_then(Controller::generation) else {
            return Ok(());
        };
        self.reads_rings = true;
        let ring = typed(generation.map("EVENTS")?, "EVENTS")?;
        spawn_reader(
            "events",
            events::read(ring, Arc::clone(&self.state), Arc::clone(&self.output)),
        );
        let ring = typed(generation.map("DHCP")?, "DHCP")?;
        spawn_reader("DHCP messages", bindings::read(ring, Arc::clone(&self.state)));
        Ok(())
    }

    /// Debug lines of the kernel program, when it was built with them.
    fn read_log(&mut self) {
        let Some(generation) = self.controller.as_mut().and_then(Controller::generation) else {
            return;
        };
        if let Ok(logger) = EbpfLogger::init(generation.ebpf()) {
            spawn_reader("log", read_log(logger));
        }
    }

    async fn end(mut self, end: End, keep: bool) -> Result<(), Failure> {
        notify(&[NotifyState::Stopping]);
        self.state.bindings.sweep();
        self.state.learned.close(&self.state);
        match end {
            End::Detached => tracing::info!("detached, ending"),
            End::Signal if keep => tracing::info!("ending; enforcement stays in place (`enforcer detach` removes it)"),
            End::Signal => {
                let ports = self.detach(None, "keep_enforcing_on_exit = false".to_owned()).await?;
                tracing::info!(
                    ports = ports.join(","),
                    "detached, ending (keep_enforcing_on_exit = false)"
                );
            }
        }
        let _ = fs::remove_file(control::socket_path(&self.runtime_directory));
        self.output.close();
        Ok(())
    }
}

fn spawn_reader(what: &'static str, reader: impl Future<Output = io::Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = reader.await {
            tracing::error!("reading {what} from the kernel broke down: {error}");
        }
    });
}

async fn read_log(logger: EbpfLogger<&'static dyn log::Log>) -> io::Result<()> {
    // SAFETY: the descriptor belongs to the ring inside of the logger, which `AsyncFd` owns and never lets go of.
    let mut logger = unsafe { AsyncFd::register(logger) }?;
    loop {
        let mut ready = logger.readable_mut().await?;
        ready.get_inner_mut().flush();
        ready.clear_ready();
    }
}

/// Tells the service manager, if there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager cannot be told: {error}");
    }
}
