//! A server may say anything: the exchange waits, asks again, or ends, in a bounded number of steps.

use loko_dns::probe::{Event, Exchange, Kind, Limits, Question, Step};

/// `bytes` are replies, each behind two bytes of length; the first two bytes are the question's id.
pub fn check(bytes: &[u8]) {
    let Some((id, mut rest)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let question = Question {
        id: u16::from_be_bytes(*id),
        name: "shop.dev.me".to_owned(),
        kind: Kind::A,
    };
    let Ok((mut exchange, first)) = Exchange::start(question, Limits::default()) else {
        return;
    };
    assert!(matches!(first, Step::Udp(_)));
    let mut sent = 1;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (message, next) = after.split_at(length);
        rest = next;
        match exchange.next(&Event::Reply(message)) {
            Step::Wait => {}
            Step::Udp(_) | Step::Tcp(_) => sent += 1,
            Step::Done(answer) => {
                assert!(answer.addresses.len() <= answer.records);
                assert_eq!(answer.ttl.is_some(), answer.records > 0);
                return;
            }
            Step::Failed(error) => panic!("a reply alone fails nothing: {error}"),
        }
    }
    // Once without EDNS and once over TCP.
    assert!(sent <= 3);
    for _ in 0..10 {
        if matches!(exchange.next(&Event::Lost), Step::Failed(_)) {
            return;
        }
    }
    panic!("silence does not end it");
}
