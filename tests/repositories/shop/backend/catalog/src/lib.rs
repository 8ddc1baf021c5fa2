//! What the shop sells. The list is part of the program.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Article {
    pub name: String,
    pub cents: u32,
}

/// Returns all articles, cheapest first.
pub fn articles() -> Vec<Article> {
    let mut found: Vec<Article> = serde_json::from_str(include_str!("../articles.json")).expect("articles.json");
    found.sort_by_key(|article| article.cents);
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_cheapest_is_first() {
        let found = super::articles();
        assert!(found.windows(2).all(|pair| pair[0].cents <= pair[1].cents));
    }
}
