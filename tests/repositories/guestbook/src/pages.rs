//! The pages. Their text is in `templates/`.

use askama::Template;
use axum::{
    extract::{Form, State},
    http::StatusCode,
    response::{Html, IntoResponse, Redirect, Response},
};
use sqlx::PgPool;

use crate::entries::{self, Entry};

#[derive(Template)]
#[template(path = "index.html")]
struct Index {
    entries: Vec<Entry>,
}

#[derive(serde::Deserialize)]
pub struct Signed {
    name: String,
    message: String,
}

/// Any error becomes status 500; its text is logged, not sent.
pub struct Failed(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        tracing::error!("{:#}", self.0);
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

pub async fn index(State(pool): State<PgPool>) -> Result<Html<String>, Failed> {
    Ok(Html(Index { entries: entries::newest(&pool).await? }.render()?))
}

pub async fn sign(State(pool): State<PgPool>, Form(signed): Form<Signed>) -> Result<Redirect, Failed> {
    entries::add(&pool, signed.name.trim(), signed.message.trim()).await?;
    Ok(Redirect::to("/"))
}

/// Returns the heading of the page.
pub fn heading() -> anyhow::Result<String> {
    let page = Index { entries: Vec::new() }.render()?;
    let text = page.split_once("<h1>").and_then(|(_, rest)| rest.split_once("</h1>"));
    Ok(text.map(|(heading, _)| heading.to_owned()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_escaped() {
        use askama::Template;
        let entries = vec![crate::entries::Entry { name: "<b>".into(), message: "x".into() }];
        assert!(!super::Index { entries }.render().unwrap().contains("<b>"));
    }
}
