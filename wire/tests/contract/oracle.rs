//! Our codec against prost: each reads what the other wrote, and what both accept is the same.

use gaugeway_wire::{
    MappingAnswer, MappingRequest, Policy, Report, ReportAnswer, ReportCall, Target,
};
use gaugeway_wire_oracle::{self as pb, Message};
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::models::{self, definition, pb_definition, pb_policy, pb_request, pb_target};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn prost_reads_our_report(model in models::report()) {
        let bytes = model.encode();
        prop_assert_eq!(pb::Report::decode(&*bytes).unwrap(), model.pb());
    }

    #[test]
    fn we_read_prosts_report(model in models::report()) {
        // prost leaves a target of 0 out; every series names one.
        prop_assume!(model.series.iter().all(|series| series.target != 0));
        let bytes = model.pb().encode_to_vec();
        prop_assert_eq!(models::read_report(&Report::decode(&bytes).unwrap()), model.pb());
    }

    #[test]
    fn prost_reads_our_mapping_answer(model in models::answer()) {
        prop_assert_eq!(pb::MappingAnswer::decode(&*model.encode()).unwrap(), model.pb());
    }

    #[test]
    fn we_read_prosts_mapping_answer(model in models::answer()) {
        let bytes = model.pb().encode_to_vec();
        prop_assert_eq!(models::read_answer(&MappingAnswer::decode(&bytes).unwrap()), model.pb());
    }

    #[test]
    fn mapping_requests_go_both_ways(request in models::mapping_request()) {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        prop_assert_eq!(bytes.len(), request.encoded_len());
        prop_assert_eq!(&bytes, &pb_request(&request).encode_to_vec());
        prop_assert_eq!(MappingRequest::decode(&bytes).unwrap(), request);
    }

    #[test]
    fn policies_go_both_ways(policy in models::policy()) {
        let mut bytes = Vec::new();
        policy.encode(&mut bytes);
        prop_assert_eq!(&bytes, &pb_policy(&policy).encode_to_vec());
        prop_assert_eq!(Policy::decode(&bytes).unwrap(), policy);
    }

    #[test]
    fn targets_go_both_ways(target in models::target()) {
        prop_assert_eq!(&target.encode(), &pb_target(&target).encode_to_vec());
        prop_assert_eq!(Target::decode(&target.encode()).unwrap(), target);
    }

    #[test]
    fn report_calls_go_both_ways((report, definitions, mapping) in models::report_call()) {
        let mut bytes = Vec::new();
        let given = definitions.iter().map(definition);
        let taken = ReportCall::encode(&report, given, mapping.as_ref(), &mut bytes);
        prop_assert_eq!(taken, definitions.len());
        let expected = pb::ReportCall {
            report,
            definitions: definitions.iter().map(pb_definition).collect(),
            mapping: mapping.as_ref().map(pb_request),
        };
        prop_assert_eq!(&pb::ReportCall::decode(&*bytes).unwrap(), &expected);
        let bytes = expected.encode_to_vec();
        prop_assert_eq!(models::read_call(&ReportCall::decode(&bytes).unwrap()), expected);
    }

    #[test]
    fn report_answers_go_both_ways((mut answer, mapping) in models::report_answer()) {
        let mapping_bytes = mapping.as_ref().map(models::AnswerModel::encode);
        answer.mapping = mapping_bytes.as_deref();
        let mut bytes = Vec::new();
        answer.encode(&mut bytes);
        let expected = pb::ReportAnswer {
            mapping: mapping.as_ref().map(models::AnswerModel::pb),
            ..models::read_report_answer(&answer)
        };
        prop_assert_eq!(&pb::ReportAnswer::decode(&*bytes).unwrap(), &expected);
        prop_assert_eq!(&ReportAnswer::decode(&bytes).unwrap(), &answer);
        let bytes = pb::ReportAnswer { mapping: None, ..expected }.encode_to_vec();
        let without = ReportAnswer { mapping: None, ..answer };
        prop_assert_eq!(ReportAnswer::decode(&bytes).unwrap(), without);
    }

    #[test]
    fn unknown_fields_and_field_order_change_nothing(
        report in models::report(),
        answer in models::answer(),
        seed in any::<u64>(),
    ) {
        let bytes = scramble_within(&report.encode(), &[7, 4], seed);
        prop_assert_eq!(models::read_report(&Report::decode(&bytes).unwrap()), report.pb());
        let bytes = scramble_within(&answer.encode(), &[7, 2], seed);
        let bytes = map_field(&bytes, 5, &|policy| scramble(policy, seed));
        let bytes = map_field(&bytes, 6, &|definition| scramble(definition, seed));
        prop_assert_eq!(models::read_answer(&MappingAnswer::decode(&bytes).unwrap()), answer.pb());
    }
}

/// [`scramble`]s a message, its field `path[0]`, that field's field `path[1]` and so on.
fn scramble_within(bytes: &[u8], path: &[u32], seed: u64) -> Vec<u8> {
    let inner = match path {
        [] => bytes.to_vec(),
        [field, rest @ ..] => map_field(bytes, *field, &|content| {
            scramble_within(content, rest, seed)
        }),
    };
    scramble(&inner, seed)
}

/// Mixes fields of different numbers and puts fields of a later version between them.
fn scramble(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut fields = fields(bytes);
    for _ in 0..4 * fields.len() {
        let at = random(fields.len());
        if at > 0 && fields[at].0 != fields[at - 1].0 {
            fields.swap(at, at - 1);
        }
    }
    let later: [&[u8]; 4] = [
        // Fields 1000 (varint), 1001 (fixed64), 1002 (bytes), 1003 (fixed32).
        &[0xc0, 0x3e, 0x96, 0x01],
        &[0xc9, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0xd2, 0x3e, 3, 0xff, 0xff, 0xff],
        &[0xdd, 0x3e, 1, 2, 3, 4],
    ];
    let mut out = Vec::new();
    for (_, field) in fields {
        if random(3) == 0 {
            out.extend_from_slice(later[random(4)]);
        }
        out.extend_from_slice(field);
    }
    out.extend_from_slice(later[random(4)]);
    out
}

/// Applies `change` to the content of every field of that number.
fn map_field(bytes: &[u8], number: u32, change: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    for (field, bytes) in fields(bytes) {
        if field == number {
            let mut content = bytes;
            prost_varint(&mut content);
            prost_varint(&mut content);
            gaugeway_wire::codec::put_bytes(&mut out, field, &change(content));
        } else {
            out.extend_from_slice(bytes);
        }
    }
    out
}

/// A message's fields, each with its number and all its bytes.
fn fields(bytes: &[u8]) -> Vec<(u32, &[u8])> {
    let mut fields = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let start = rest;
        let key = prost_varint(&mut rest);
        let length = match key & 7 {
            0 => {
                prost_varint(&mut rest);
                0
            }
            1 => 8,
            2 => usize::try_from(prost_varint(&mut rest)).unwrap(),
            _ => 4,
        };
        rest = &rest[length..];
        let field = u32::try_from(key >> 3).unwrap();
        fields.push((field, &start[..start.len() - rest.len()]));
    }
    fields
}

fn prost_varint(bytes: &mut &[u8]) -> u64 {
    pb::decode_varint(bytes).unwrap()
}
