//! Settings, which are only read from the environment.

use std::{collections::HashMap, fmt, str::FromStr};

/// A setting that is missing or invalid. The message never contains the value, because it may be a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The variable is unset or empty.
    #[error("{0} is not set")]
    Missing(String),
    /// The variable is set, but its value does not have the required type.
    #[error("{name} is not {wanted}")]
    Invalid {
        /// Name of the variable.
        name: String,
        /// The required type.
        wanted: &'static str,
    },
}

/// A value that must not reach a log: `Debug` hides it and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// The environment variables at startup: those of the process, or a table in a test.
#[derive(Clone)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// The environment of this process, without variables that are not Unicode.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The variable as text. An empty variable counts as not set, because compose passes unset variables as empty ones.
    pub fn text(&self, name: &str) -> Result<String, ConfigError> {
        self.0
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
            .ok_or_else(|| ConfigError::Missing(name.to_owned()))
    }

    /// The variable as text that must stay secret.
    pub fn secret(&self, name: &str) -> Result<Secret, ConfigError> {
        self.text(name).map(Secret)
    }

    /// The variable as text, or `default` if it is not set.
    pub fn text_or(&self, name: &str, default: &str) -> String {
        self.text(name).unwrap_or_else(|_| default.to_owned())
    }

    /// The variable as a number, or `default` if it is not set; an error if it is not a number.
    pub fn number_or<N: FromStr>(&self, name: &str, default: N) -> Result<N, ConfigError> {
        match self.text(name) {
            Err(_) => Ok(default),
            Ok(value) => value.parse().map_err(|_| ConfigError::Invalid {
                name: name.to_owned(),
                wanted: "a whole number in range",
            }),
        }
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// How to connect to PostgreSQL. Separate variables instead of a URL, so that no character of a password needs
/// escaping.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Role to log in as.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Database name.
    pub database: String,
}

impl DatabaseConfig {
    /// Reads `POSTGRES_HOST`, `_PORT`, `_USER`, `_PASSWORD` and `_DB`.
    pub fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            host: environment.text("POSTGRES_HOST")?,
            port: environment.number_or("POSTGRES_PORT", 5432)?,
            user: environment.text("POSTGRES_USER")?,
            password: environment.secret("POSTGRES_PASSWORD")?,
            database: environment.text("POSTGRES_DB")?,
        })
    }
}

/// How to connect to RabbitMQ.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Host name or address.
    pub host: String,
    /// TCP port of AMQP.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Virtual host.
    pub vhost: String,
}

impl BrokerConfig {
    /// Reads `RABBITMQ_HOST`, `_PORT`, `_USER`, `_PASSWORD` and `_VHOST`.
    pub fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            host: environment.text("RABBITMQ_HOST")?,
            port: environment.number_or("RABBITMQ_PORT", 5672)?,
            user: environment.text("RABBITMQ_USER")?,
            password: environment.secret("RABBITMQ_PASSWORD")?,
            vhost: environment.text_or("RABBITMQ_VHOST", "/"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn a_password_may_hold_any_character_and_is_never_printed() {
        let config = DatabaseConfig::from_environment(&environment(&[
            ("POSTGRES_HOST", "postgres"),
            ("POSTGRES_USER", "sample"),
            ("POSTGRES_PASSWORD", "p@ss/w:rd?#%41"),
            ("POSTGRES_DB", "sample"),
        ]))
        .unwrap();
        assert_eq!(config.password.expose(), "p@ss/w:rd?#%41");
        assert_eq!(config.port, 5432);
        let shown = format!("{config:?}");
        assert!(shown.contains("***") && !shown.contains("p@ss"), "{shown}");
    }

    #[test]
    fn an_empty_variable_counts_as_missing() {
        let error = environment(&[("POSTGRES_HOST", "")]).text("POSTGRES_HOST");
        assert_eq!(error, Err(ConfigError::Missing("POSTGRES_HOST".into())));
    }

    #[test]
    fn a_wrong_number_is_an_error_that_does_not_repeat_the_value() {
        let error = environment(&[("PORT", "secret")]).number_or("PORT", 8080_u16);
        assert_eq!(
            error.unwrap_err().to_string(),
            "PORT is not a whole number in range"
        );
        assert!(environment(&[("PORT", "70000")])
            .number_or("PORT", 8080_u16)
            .is_err());
    }
}
