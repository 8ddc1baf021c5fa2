//! `#[derive(Unit)]`: a unit's long name, looked up in units.txt while the macro expands.

use proc_macro::TokenStream;
use quote::quote;
use syn::{parse_macro_input, DeriveInput};

/// Implements `NAME`: the line of units.txt that starts with the type's name.
#[proc_macro_derive(Unit)]
pub fn unit(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let ident = &input.ident;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/units.txt");
    let table = std::fs::read_to_string(path).expect("units.txt");
    let short = ident.to_string().to_lowercase();
    let long = table.lines().find_map(|line| line.split_once(' ').filter(|(name, _)| *name == short));
    let long = long.map_or(short.clone(), |(_, long)| long.to_owned());
    quote! {
        impl #ident {
            pub const NAME: &'static str = #long;
        }
    }
    .into()
}
