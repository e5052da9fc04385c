use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::{A, TXT};
use proptest::prelude::*;

use super::*;

const ID: u16 = 0x1234;

fn start(attempts: u8) -> (Exchange, Vec<u8>) {
    let question = Question {
        id: ID,
        name: "shop.dev.me".into(),
        kind: Kind::A,
    };
    let limits = Limits {
        attempts,
        ..Limits::default()
    };
    let (exchange, step) = Exchange::start(question, limits).unwrap();
    (exchange, udp(step))
}

fn udp(step: Step) -> Vec<u8> {
    if let Step::Udp(bytes) = step {
        bytes
    } else {
        panic!("{step:?}")
    }
}

/// The reply to a query, as a server would make it.
fn reply(query: &[u8], change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::from_vec(query).unwrap().into_response();
    change(&mut message);
    message.to_vec().unwrap()
}

fn address(message: &mut Message) {
    let name = message.queries[0].name.clone();
    message.add_answer(Record::from_rdata(name, 5, RData::A(A::new(127, 0, 0, 1))));
}

#[test]
fn a_reply_ends_the_exchange() {
    let (mut exchange, query) = start(3);
    let asked = Message::from_vec(&query).unwrap();
    assert!(asked.metadata.recursion_desired);
    assert_eq!(asked.edns.unwrap().max_payload(), PAYLOAD);
    let step = exchange.next(&Event::Reply(&reply(&query, address)));
    let expected = Answer {
        code: Code::NoError,
        addresses: BTreeSet::from([[127, 0, 0, 1].into()]),
        records: 1,
        ttl: Some(5),
        tcp: false,
    };
    assert_eq!(step, Step::Done(expected));
}

#[test]
fn what_is_not_the_reply_is_not_taken_for_it() {
    let (mut exchange, query) = start(3);
    let other_id = reply(&query, |message| message.metadata.id = ID + 1);
    let other_name = reply(&query, |message| {
        message.queries[0].name = Name::from_ascii("x.dev.me.").unwrap();
    });
    for bytes in [&other_id, &other_name, &query, &vec![0; 3]] {
        assert_eq!(exchange.next(&Event::Reply(bytes)), Step::Wait);
    }
    assert!(matches!(
        exchange.next(&Event::Reply(&reply(&query, address))),
        Step::Done(_)
    ));
}

#[test]
fn a_lost_datagram_is_sent_again_and_a_closed_port_is_not() {
    let (mut exchange, query) = start(2);
    assert_eq!(udp(exchange.next(&Event::Lost)), query);
    let silent = ProbeError::Silent { attempts: 2 };
    assert_eq!(exchange.next(&Event::Lost), Step::Failed(silent));
    let (mut exchange, _) = start(3);
    assert_eq!(exchange.next(&Event::Refused), Step::Failed(ProbeError::Closed));
}

#[test]
fn a_reply_that_was_cut_off_is_asked_for_over_tcp() {
    let (mut exchange, query) = start(3);
    let cut = reply(&query, |message| message.metadata.truncation = true);
    assert_eq!(exchange.next(&Event::Reply(&cut)), Step::Tcp(query.clone()));
    let long = reply(&query, |message| {
        address(message);
        let text = TXT::new(vec!["x".repeat(200); 10]);
        let name = message.queries[0].name.clone();
        message.add_answer(Record::from_rdata(name, 3, RData::TXT(text)));
    });
    let Step::Done(answer) = exchange.next(&Event::Reply(&long)) else {
        panic!("no answer");
    };
    assert!(answer.tcp);
    assert_eq!((answer.records, answer.ttl), (2, Some(3)));

    let (mut exchange, _) = start(3);
    exchange.next(&Event::Reply(&cut));
    assert_eq!(exchange.next(&Event::Lost), Step::Failed(ProbeError::Tcp));
}

#[test]
fn a_server_without_edns_is_asked_without_it() {
    let (mut exchange, query) = start(3);
    let refused = reply(&query, |message| {
        message.metadata.response_code = ResponseCode::FormErr;
        message.queries.clear();
        message.edns = None;
    });
    let again = udp(exchange.next(&Event::Reply(&refused)));
    assert!(Message::from_vec(&again).unwrap().edns.is_none());
    assert!(matches!(
        exchange.next(&Event::Reply(&refused)),
        Step::Done(Answer {
            code: Code::Other(1),
            ..
        })
    ));
}

#[test]
fn how_it_ended_is_told() {
    for (code, expected, text) in [
        (ResponseCode::NXDomain, Code::NxDomain, "NXDOMAIN"),
        (ResponseCode::Refused, Code::Refused, "REFUSED"),
        (ResponseCode::ServFail, Code::ServFail, "SERVFAIL"),
        (ResponseCode::NoError, Code::NoError, "NOERROR"),
    ] {
        let (mut exchange, query) = start(1);
        let ended = reply(&query, |message| message.metadata.response_code = code);
        let Step::Done(answer) = exchange.next(&Event::Reply(&ended)) else {
            panic!("no answer");
        };
        assert_eq!((answer.code, answer.ttl), (expected, None));
        assert_eq!(answer.code.to_string(), text);
    }
}

#[test]
fn a_name_that_cannot_be_asked_for_is_said_so() {
    let question = Question {
        id: ID,
        name: "a..b".into(),
        kind: Kind::A,
    };
    assert!(matches!(
        Exchange::start(question, Limits::default()),
        Err(ProbeError::Name { .. })
    ));
}

proptest! {
    #[test]
    fn no_datagram_makes_it_panic(bytes: Vec<u8>) {
        let (mut exchange, _) = start(3);
        let _ = exchange.next(&Event::Reply(&bytes));
    }
}
