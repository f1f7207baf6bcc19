//! `#[timestop::main]`, nothing else.

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// Runs the body of `main` as the program's first fiber, by `timestop::run`.
///
/// ```ignore
/// #[timestop::main]
/// fn main() -> std::io::Result<()> {
///     println!("on a fiber: {}", timestop::is_fiber());
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return error("#[timestop::main] takes no arguments; use timestop::Config for settings");
    }
    let mut tokens: Vec<TokenTree> = item.into_iter().collect();
    let is = |token: &TokenTree, word: &str| matches!(token, TokenTree::Ident(ident) if ident.to_string() == word);
    if tokens.iter().any(|token| is(token, "async")) {
        return error("a fiber needs no async: write a plain `fn main`");
    }
    let named_main = tokens.windows(2).any(|pair| is(&pair[0], "fn") && is(&pair[1], "main"));
    let body = match tokens.pop() {
        Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace && named_main => body,
        _ => return error("#[timestop::main] belongs on `fn main`"),
    };
    let call: TokenStream = "::timestop::run".parse().expect("a path");
    let closure: TokenStream = "move ||".parse().expect("the head of a closure");
    let argument: TokenStream = closure.into_iter().chain([TokenTree::Group(body)]).collect();
    let call: TokenStream = call
        .into_iter()
        .chain([TokenTree::Group(Group::new(Delimiter::Parenthesis, argument))])
        .collect();
    tokens.push(TokenTree::Group(Group::new(Delimiter::Brace, call)));
    tokens.into_iter().collect()
}

fn error(text: &str) -> TokenStream {
    format!("::core::compile_error!({text:?});").parse().expect("a macro call")
}
