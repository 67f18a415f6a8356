//! Lines as messages of langfast's socket: no panic, in the packets and in what they carry.
#![no_main]

use hive2api_worker::{
    providers::langfast::stream::Decoder,
    upstream::socketio::codec::{Session, Step},
};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let mut session = Session::new("{}");
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    // The first byte says after how many messages the run's answer comes, and whether it names a job.
    let Some((&first, body)) = body.split_first() else { return };
    let _ = session.receive(b"0{}").is_ok() && session.receive(b"40").is_ok();
    for (at, message) in body.split(|&byte| byte == b'\n').enumerate() {
        if at == usize::from(first / 2) {
            let job = (first % 2 == 1).then(|| "j".to_owned());
            if decoder.begin(job, &mut events).is_err() {
                return;
            }
        }
        if let Ok(Step::Event(event)) = session.receive(message)
            && decoder.feed(&event, &mut events).is_err()
        {
            return;
        }
    }
    let _ = decoder.finish();
});
