//! Messaging with RabbitMQ: durable queues, publisher confirms, and acknowledgements only after the work is committed.

use crate::{config::BrokerConfig, retry};
use anyhow::{bail, Context};
use futures_util::{future::BoxFuture, StreamExt};
use lapin::{
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions,
        BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
    BasicProperties, Channel, Connection, ConnectionProperties,
};
use serde::{de::DeserializeOwned, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// The queue for unreadable messages, which a person has to inspect.
const DEAD_LETTERS: &str = "dead-letters";
/// Maximum number of unacknowledged messages per consumer.
const PREFETCH: u16 = 16;
/// Timeout for one exchange with the broker.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a message that failed for a temporary reason goes back into its queue.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// AMQP's delivery mode for persistent messages.
const PERSISTENT: u8 = 2;

/// The queues of the sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Accepted actions, from api to executor.
    Actions,
    /// Steps, from executor to worker.
    Steps,
    /// Completed actions, from worker to notifier.
    Completions,
}

impl Queue {
    const ALL: [Self; 3] = [Self::Actions, Self::Steps, Self::Completions];

    /// The name in the broker.
    pub fn name(self) -> &'static str {
        match self {
            Self::Actions => "actions",
            Self::Steps => "steps",
            Self::Completions => "completions",
        }
    }
}

/// Why a message could not be processed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A retry may succeed: the message goes back into its queue.
    #[error("{0:#}")]
    Passing(anyhow::Error),
    /// A retry will never succeed: the message goes to the dead letters.
    #[error("{0:#}")]
    Lasting(anyhow::Error),
}

// Errors of the broker or the database may be temporary.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Passing(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Passing(error.into())
    }
}

/// What a consumer does with a message's body.
pub type Handler = Box<dyn Fn(Vec<u8>) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// Parses a message; a retry will not help if this fails.
pub fn parse<M: DeserializeOwned>(body: &[u8]) -> Result<M, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::Lasting(error.into()))
}

/// An open connection, and a channel on it with publisher confirms.
struct Link {
    connection: Connection,
    publisher: Channel,
}

/// A connection that is reopened if it was lost.
pub struct Broker {
    config: BrokerConfig,
    service: &'static str,
    link: Mutex<Option<Link>>,
}

impl Broker {
    /// Waits for RabbitMQ and declares the queues.
    pub async fn connect(config: BrokerConfig, service: &'static str) -> anyhow::Result<Arc<Self>> {
        let broker = Arc::new(Self {
            config,
            service,
            link: Mutex::new(None),
        });
        retry::until_ready("RabbitMQ", || async {
            broker.check().await.map_err(|error| format!("{error:#}"))
        })
        .await
        .map_err(anyhow::Error::msg)
        .context("RabbitMQ is unreachable")?;
        Ok(broker)
    }

    fn uri(&self) -> AMQPUri {
        AMQPUri {
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: self.config.user.clone(),
                    password: self.config.password.expose().to_owned(),
                },
                host: self.config.host.clone(),
                port: self.config.port,
            },
            vhost: self.config.vhost.clone(),
            query: AMQPQueryString::default(),
        }
    }

    async fn open(&self) -> anyhow::Result<Link> {
        let properties = ConnectionProperties::default().with_connection_name(self.service.into());
        let connection = Connection::connect_uri(self.uri(), properties).await?;
        let publisher = connection.create_channel().await?;
        publisher
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        declare_queues(&publisher).await?;
        Ok(Link {
            connection,
            publisher,
        })
    }

    /// Runs `use_link` with a live connection, and opens one first if there is none.
    async fn with_link<T>(
        &self,
        use_link: impl AsyncFnOnce(&Link) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut guard = self.link.lock().await;
        let alive = |link: &Link| {
            link.connection.status().connected() && link.publisher.status().connected()
        };
        if !guard.as_ref().is_some_and(alive) {
            *guard = None;
            *guard = Some(timeout(TIMEOUT, self.open()).await.context("time-out")??);
        }
        match guard.as_ref() {
            Some(link) => timeout(TIMEOUT, use_link(link)).await.context("time-out")?,
            None => bail!("no connection"),
        }
    }

    /// Ensures that there is a live connection.
    pub async fn check(&self) -> anyhow::Result<()> {
        self.with_link(async |_| Ok(())).await
    }

    /// Publishes a message and returns when the broker has taken responsibility for it.
    pub async fn publish(&self, queue: Queue, message: &impl Serialize) -> anyhow::Result<()> {
        self.publish_body(queue, serde_json::to_vec(message)?).await
    }

    async fn publish_body(&self, queue: Queue, body: Vec<u8>) -> anyhow::Result<()> {
        let channel = self
            .with_link(async |link| Ok(link.publisher.clone()))
            .await?;
        let send = async {
            let properties = BasicProperties::default()
                .with_delivery_mode(PERSISTENT)
                .with_content_type("application/json".into());
            channel
                .basic_publish(
                    "",
                    queue.name(),
                    BasicPublishOptions::default(),
                    &body,
                    properties,
                )
                .await?
                .await
        };
        let confirmation = timeout(TIMEOUT, send).await.context("time-out")??;
        if !confirmation.is_ack() {
            bail!("the broker refused a message to {}", queue.name());
        }
        Ok(())
    }

    /// Passes the messages of `queue` to `handler`, one after another, until `shutdown`. Tolerates a broker that is
    /// down for up to [`retry::PATIENCE`], then fails.
    pub async fn consume(
        &self,
        queue: Queue,
        handler: Handler,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        while !shutdown.is_cancelled() {
            let channel = tokio::select! {
                () = shutdown.cancelled() => break,
                channel = retry::until_ready("RabbitMQ", || async {
                    self.with_link(async |link| Ok(link.connection.create_channel().await?))
                        .await
                        .map_err(|error| format!("{error:#}"))
                }) => channel.map_err(anyhow::Error::msg)?,
            };
            match consume_from(&channel, queue, &handler, &shutdown).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(%error, queue = queue.name(), "lost the broker, reconnecting");
                }
            }
        }
        Ok(())
    }

    /// Closes the connection properly, so that the broker knows why it ended.
    pub async fn close(&self) {
        let farewell = async {
            if let Some(link) = self.link.lock().await.take() {
                link.connection.close(200, "service is stopping").await.ok();
            }
        };
        // It no longer matters whether this succeeds.
        timeout(Duration::from_secs(1), farewell).await.ok();
    }
}

async fn declare_queues(channel: &Channel) -> lapin::Result<()> {
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .queue_declare(DEAD_LETTERS, durable, FieldTable::default())
        .await?;
    let mut arguments = FieldTable::default();
    let text = |value: &str| AMQPValue::LongString(value.into());
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text(DEAD_LETTERS));
    for queue in Queue::ALL {
        channel
            .queue_declare(queue.name(), durable, arguments.clone())
            .await?;
    }
    Ok(())
}

/// Consumes until `shutdown` (then `Ok`) or until the channel fails.
async fn consume_from(
    channel: &Channel,
    queue: Queue,
    handler: &Handler,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let mut deliveries = channel
        .basic_consume(
            queue.name(),
            "",
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    tracing::info!(queue = queue.name(), "consuming");
    loop {
        // Only stop between two messages: finish the current one. Messages that were fetched but not started return to
        // the queue.
        let delivery = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            delivery = deliveries.next() => delivery.context("the consumer was cancelled")??,
        };
        match handler(delivery.data.clone()).await {
            Ok(()) => delivery.ack(BasicAckOptions::default()).await.map(drop)?,
            Err(failure) => {
                tracing::warn!(%failure, queue = queue.name(), "could not process a message");
                let requeue = matches!(failure, Failure::Passing(_));
                if requeue {
                    tokio::select! { () = sleep(RETRY_PAUSE) => (), () = shutdown.cancelled() => () }
                }
                let options = BasicNackOptions {
                    requeue,
                    ..Default::default()
                };
                delivery.nack(options).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ActionMessage;

    #[test]
    fn what_cannot_be_read_goes_to_the_dead_letters() {
        let failure = parse::<ActionMessage>(b"{}").unwrap_err();
        assert!(matches!(failure, Failure::Lasting(_)));
    }

    #[test]
    fn a_fault_of_the_database_is_tried_again() {
        let failure = Failure::from(sqlx::Error::PoolTimedOut);
        assert!(matches!(failure, Failure::Passing(_)));
    }
}
