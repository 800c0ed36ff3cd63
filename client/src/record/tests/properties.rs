//! What holds of all streams of frames.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// How a stream of frames ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Behind a frame.
    Clean,
    /// Within one.
    Cut,
    Refused(RecordError),
}

/// What one end sends: its frames and what is in them.
#[derive(Debug)]
struct Sent {
    protocol: RecordProtocol,
    side: Side,
    start: u64,
    frames: Vec<Vec<u8>>,
    payloads: Vec<Vec<u8>>,
}

impl Sent {
    fn opener(&self) -> Opener {
        opener(self.protocol, self.side, self.start)
    }

    /// What is received of this stream of frames.
    fn receive<'a>(&self, frames: impl IntoIterator<Item = &'a Vec<u8>>) -> (Vec<Vec<u8>>, End) {
        receive(&mut self.opener(), frames.into_iter().map(|frame| &**frame))
    }

    /// What was received of an altered stream is what was sent in front of this frame, and not said to be all.
    fn is_refused_at(&self, place: usize, (payloads, end): (Vec<Vec<u8>>, End)) {
        assert_eq!(payloads, self.payloads[..place]);
        assert_ne!(end, End::Clean);
    }
}

/// Opens what comes in these pieces.
fn receive<'a>(opener: &mut Opener, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, End) {
    let (mut payloads, mut buffer) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let len = match opener.frame_len(&buffer) {
                Ok(Some(len)) if len <= buffer.len() => len,
                Ok(_) => break,
                Err(error) => return (payloads, End::Refused(error)),
            };
            match opener.open(&mut buffer[..len]) {
                Ok(range) => payloads.push(buffer[range].to_vec()),
                Err(error) => return (payloads, End::Refused(error)),
            }
            buffer.drain(..len);
        }
    }
    (payloads, if buffer.is_empty() { End::Clean } else { End::Cut })
}

/// Writes of any length, each of them of several slices, in frames that are often full, around a change of the key.
fn sent() -> impl Strategy<Value = Sent> {
    let protocol = prop_oneof![Just(REKEY), Just(GMAC)];
    let side = prop_oneof![Just(Side::Client), Just(Side::Server)];
    let writes = vec(vec(vec(any::<u8>(), 0..60), 0..5), 1..8);
    (protocol, side, 0xfff0_u64..0x1_0001, 1_usize..100, writes).prop_map(
        |(protocol, side, start, most, writes)| {
            let mut sealer = sealer(protocol, side, start);
            sealer.limit_payload(most);
            let (mut frames, mut payloads) = (Vec::new(), Vec::new());
            for write in writes {
                let mut slices: Vec<_> = write.iter().map(|slice| IoSlice::new(slice)).collect();
                let (mut left, whole) = (&mut slices[..], write.concat());
                let mut done = 0;
                while done < whole.len() {
                    let mut frame = Vec::new();
                    let taken = sealer.seal(left, &mut frame).expect("there are numbers");
                    assert_eq!(taken, most.min(whole.len() - done));
                    frames.push(frame);
                    payloads.push(whole[done..done + taken].to_vec());
                    IoSlice::advance_slices(&mut left, taken);
                    done += taken;
                }
            }
            Sent { protocol, side, start, frames, payloads }
        },
    )
}

/// With at least this many frames.
fn sent_frames(least: usize) -> impl Strategy<Value = Sent> {
    sent().prop_filter("too few frames", move |sent| sent.frames.len() >= least)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_any_writes_arrives_whole(sent in sent(), cuts in vec(any::<Index>(), 0..40)) {
        let stream = sent.frames.concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut opener = sent.opener();
        let received = receive(&mut opener, cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]));
        prop_assert_eq!(received, (sent.payloads.clone(), End::Clean));
        prop_assert_eq!(opener.frames(), sent.frames.len() as u64);
    }

    #[test]
    fn a_stream_that_is_cut_within_a_frame_is_not_whole(sent in sent_frames(1), cut in any::<Index>()) {
        let stream = sent.frames.concat();
        let cut = cut.index(stream.len());
        let (payloads, end) = receive(&mut sent.opener(), stream[..cut].chunks(1));
        prop_assert_eq!(&payloads, &sent.payloads[..payloads.len()]);
        let whole: usize = sent.frames[..payloads.len()].iter().map(Vec::len).sum();
        prop_assert_eq!(end, if whole == cut { End::Clean } else { End::Cut });
    }

    #[test]
    fn any_flipped_bit_is_refused(
        mut sent in sent_frames(1), place in any::<Index>(), bit in any::<Index>(), header in any::<bool>(),
    ) {
        let place = place.index(sent.frames.len());
        let frame = &mut sent.frames[place];
        let bit = bit.index(8 * if header { 8 } else { frame.len() });
        frame[bit / 8] ^= 1 << (bit % 8);
        sent.is_refused_at(place, sent.receive(&sent.frames));
    }

    #[test]
    fn a_frame_that_is_left_out_is_missed(mut sent in sent_frames(2), place in any::<Index>()) {
        let place = place.index(sent.frames.len() - 1);
        sent.frames.remove(place);
        let received = sent.receive(&sent.frames);
        prop_assert_eq!(&received.1, &End::Refused(RecordError::NotAuthentic));
        sent.is_refused_at(place, received);
    }

    #[test]
    fn a_frame_that_comes_again_is_refused(
        mut sent in sent_frames(1), from in any::<Index>(), to in any::<Index>(),
    ) {
        let from = from.index(sent.frames.len());
        let to = from + 1 + to.index(sent.frames.len() - from);
        sent.frames.insert(to, sent.frames[from].clone());
        let received = sent.receive(&sent.frames);
        prop_assert_eq!(&received.1, &End::Refused(RecordError::NotAuthentic));
        sent.is_refused_at(to, received);
    }

    #[test]
    fn frames_in_another_order_are_refused(
        mut sent in sent_frames(2), one in any::<Index>(), other in any::<Index>(),
    ) {
        let one = one.index(sent.frames.len() - 1);
        let other = one + 1 + other.index(sent.frames.len() - one - 1);
        sent.frames.swap(one, other);
        let received = sent.receive(&sent.frames);
        prop_assert_eq!(&received.1, &End::Refused(RecordError::NotAuthentic));
        sent.is_refused_at(one, received);
    }

    #[test]
    fn frames_of_ones_own_are_refused(mut sent in sent_frames(1)) {
        sent.side = if sent.side == Side::Client { Side::Server } else { Side::Client };
        let received = sent.receive(&sent.frames);
        prop_assert_eq!(received, (Vec::new(), End::Refused(RecordError::NotAuthentic)));
    }

    #[test]
    fn frames_of_another_key_or_protocol_are_refused(mut sent in sent_frames(1)) {
        let other = RecordKey::new(sent.protocol, vec![9; 44]).expect("it is long enough");
        let mut opener = Opener::new(&other, sent.side, FrameLimit::MIN);
        opener.start_at(sent.start);
        let refused = (Vec::new(), End::Refused(RecordError::NotAuthentic));
        prop_assert_eq!(receive(&mut opener, sent.frames.iter().map(|frame| &**frame)), refused);
        sent.protocol = if sent.protocol == REKEY { GMAC } else { REKEY };
        let refused = (Vec::new(), End::Refused(RecordError::NotAuthentic));
        prop_assert_eq!(sent.receive(&sent.frames), refused);
    }
}
