//! What decoding costs: `cargo test --release -p hive2api-worker --lib emulate::tests::bench -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

#[test]
#[ignore = "measures, and says nothing without optimisation"]
fn cost_of_a_piece_and_of_a_call() {
    let settings = settings(&Asked::default());
    let pieces: Vec<String> = (0..200_000)
        .map(|at| {
            if at % 12 == 0 {
                "word.\n\n"
            } else {
                " wording"
            }
            .to_owned()
        })
        .collect();
    let mut found = Vec::with_capacity(pieces.len());
    let mut turn = Turn::new(settings.clone());
    let count = pieces.len() as u128;
    let start = Instant::now();
    for piece in pieces {
        turn.text(piece, &mut found);
    }
    println!("{} ns a piece of words", start.elapsed().as_nanos() / count);

    let line = "    let value = map.get(\"key\").map(|it| it < 5 && !it.is_empty()); // 你好 <b>\n";
    let content = line.repeat((1 << 20) / line.len());
    let call = format!(
        "<calls-k7q2><call-k7q2 name=\"write\"><arg-k7q2 name=\"path\">a</arg-k7q2><arg-k7q2 name=\"content\">\n{content}\n\
         </arg-k7q2></call-k7q2></calls-k7q2>"
    );
    for size in [call.len(), 64] {
        let mut pieces = Vec::new();
        let mut rest = call.as_str();
        while !rest.is_empty() {
            let mut at = size.min(rest.len());
            while !rest.is_char_boundary(at) {
                at += 1;
            }
            let (head, tail) = rest.split_at(at);
            pieces.push(head.to_owned());
            rest = tail;
        }
        let mut found = Vec::new();
        let mut turn = Turn::new(settings.clone());
        let start = Instant::now();
        for piece in pieces {
            turn.text(piece, &mut found);
        }
        turn.finish(End::Clean, &mut found);
        let seconds = start.elapsed().as_secs_f64();
        assert!(matches!(found.as_slice(), [Found::Call(_)]));
        let speed = call.len() as f64 / seconds / 1e6;
        println!("{speed:.0} MB/s of a call in pieces of {size}");
    }
}
