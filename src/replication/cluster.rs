//! Servers and a broker in this process: for trying out, for tests, and for programs that want to
//! keep their data on several threads of one machine without knowing of servers.

use std::path::PathBuf;

use crate::replication::{Broker, ConnectError, Server, ServerError, Timing};
use crate::transport::ChannelTransport;

/// How to start a [`Cluster`]: see [`Cluster::embedded`].
#[derive(Debug)]
pub struct ClusterBuilder {
    servers: usize,
    copies: usize,
    data_dir: Option<PathBuf>,
    timing: Timing,
}

/// Why an embedded cluster did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A server did not start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The servers did not found a cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl ClusterBuilder {
    /// Sets how many copies of each record the cluster keeps; 1 unless this is called. See
    /// [`BrokerBuilder::copies`](crate::replication::BrokerBuilder::copies).
    #[must_use]
    pub fn copies(mut self, copies: usize) -> Self {
        self.copies = copies;
        self
    }

    /// Keeps the servers' data in directories below `path`: `server1`, `server2`, …. A cluster that
    /// is started there again has what it had, if it has as many servers; without this it is in
    /// memory.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Sets how long elections and heartbeats take.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Starts the servers in the caller's tokio runtime and founds the cluster.
    ///
    /// # Errors
    ///
    /// [`ClusterError`], for example when fewer servers than copies were asked for.
    pub async fn start(self) -> Result<Cluster, ClusterError> {
        let transport = ChannelTransport::new();
        let mut servers = Vec::with_capacity(self.servers);
        for number in 1..=self.servers {
            let address = format!("server{number}");
            let transport = transport.named(&address);
            let server = Server::builder(transport, address).timing(self.timing);
            let server = match &self.data_dir {
                Some(path) => server.data_root(path),
                None => server,
            };
            servers.push(server.start().await?);
        }
        let addresses = servers.iter().map(Server::address);
        let broker = Broker::builder(transport).servers(addresses).copies(self.copies);
        let broker = broker.connect().await?;
        Ok(Cluster { servers, broker })
    }
}

/// A cluster in this process.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use triekv::{Cluster, value};
///
/// let cluster = Cluster::embedded(3).copies(2).start().await?;
/// let broker = cluster.broker();
/// broker.put("person1", value!({ "name": "Mary" })).await?;
/// assert_eq!(broker.query("person1.name").await?, Some(value!("Mary")));
/// cluster.stop().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Server<ChannelTransport>>,
    broker: Broker<ChannelTransport>,
}

impl Cluster {
    /// A cluster of `servers` servers in this process, with their data in its memory unless
    /// [`ClusterBuilder::data_dir`] says otherwise.
    pub fn embedded(servers: usize) -> ClusterBuilder {
        ClusterBuilder { servers, copies: 1, data_dir: None, timing: Timing::default() }
    }

    /// A broker of the cluster.
    pub fn broker(&self) -> &Broker<ChannelTransport> {
        &self.broker
    }

    /// The servers.
    pub fn servers(&self) -> &[Server<ChannelTransport>] {
        &self.servers
    }

    /// Stops the servers, one after the other.
    pub async fn stop(self) {
        for server in self.servers {
            server.stop().await;
        }
    }
}
