//! Generators: a tree is walked by an ordinary recursive function that yields from whatever depth it is at, two
//! trees are compared leaf by leaf (the "same fringe" problem), and a parser is fed what arrives.
//!
//! ```sh
//! cargo run -p timestop --example generators
//! ```

use timestop::coro::{Generator, Yielder, scoped};

enum Tree {
    Leaf(&'static str),
    Branch(Vec<Tree>),
}

use Tree::{Branch, Leaf};

fn leaves(y: &Yielder<&'static str>, tree: &Tree) {
    match tree {
        Leaf(word) => y.yield_(word),
        Branch(branches) => branches.iter().for_each(|branch| leaves(y, branch)),
    }
}

/// Whether the two have the same leaves. Stops at the first that differ: neither is walked to its end then.
fn same_fringe(one: &Tree, other: &Tree) -> bool {
    scoped(|y| leaves(y, one), |ones| scoped(|y| leaves(y, other), |others| ones.eq(others)))
}

/// Collects lines out of pieces as they come: yields how many are complete, and returns them.
fn lines() -> Generator<usize, Option<&'static str>, Vec<String>> {
    Generator::new(|y| {
        let (mut lines, mut rest) = (Vec::new(), String::new());
        let mut piece = y.first().flatten();
        while let Some(text) = piece {
            rest.push_str(text);
            while let Some((line, after)) = rest.split_once('\n') {
                let after = after.to_owned();
                lines.push(line.to_owned());
                rest = after;
            }
            piece = y.yield_(lines.len());
        }
        lines
    })
}

fn main() {
    let one = Branch(vec![Leaf("to"), Branch(vec![Leaf("be"), Leaf("or")]), Leaf("not")]);
    let other = Branch(vec![Branch(vec![Leaf("to"), Leaf("be")]), Leaf("or"), Leaf("not")]);
    let third = Branch(vec![Leaf("to"), Leaf("be"), Leaf("and")]);
    scoped(|y| leaves(y, &one), |words| println!("{}", words.collect::<Vec<_>>().join(" ")));
    println!("same fringe: {}, {}", same_fringe(&one, &other), same_fringe(&one, &third));

    let mut parser = lines();
    for piece in ["first li", "ne\nsecond line\nthi", "rd\n"] {
        println!("{:?} lines after {piece:?}", parser.send(Some(piece)));
    }
    parser.send(None);
    println!("{:?}", parser.returned());
}
