package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

const bulkBytes = 1_000_000 // of each message of the case bulk

// bulkCase sends large messages there and back on one chat, as many at a time
// as flow control lets through.
func bulkCase(opts options) result {
	call, err := openChat(opts)
	if err != nil {
		return failure(err)
	}
	defer call.close()
	sent := make(chan string, 1)
	go func() { sent <- call.sendBulk(opts.messages) }()
	received := sha256.New()
	var replies []seen
	for range opts.messages {
		var reply []byte
		if err := call.stream.RecvMsg(&reply); err != nil {
			return failure(err)
		}
		one, echoed, err := split(reply)
		if err != nil {
			return failure(err)
		}
		received.Write(echoed)
		replies = append(replies, one)
	}
	// Nothing may follow the last reply.
	if err := call.stream.RecvMsg(new([]byte)); !errors.Is(err, io.EOF) {
		return failure(fmt.Errorf("the chat did not end well: %w", err))
	}
	hash := hex.EncodeToString(received.Sum(nil))
	if other := <-sent; other != hash {
		return failure(fmt.Errorf("sent %s, received %s", other, hash))
	}
	verdict := judge(opts, replies, nil)
	verdict.Bytes, verdict.SHA256 = opts.messages*bulkBytes, hash
	return verdict
}

// sendBulk returns the hash of what it sent. Why it could not send, receiving tells.
func (c *chatCall) sendBulk(messages int) string {
	hash := sha256.New()
	message := make([]byte, bulkBytes)
	_, _ = rand.Read(message) // never fails
	for number := range messages {
		// What is handed to SendMsg must not change any more.
		message = append([]byte(nil), message...)
		binary.LittleEndian.PutUint64(message, uint64(number))
		hash.Write(message)
		if err := c.stream.SendMsg(&message); err != nil {
			return err.Error()
		}
	}
	if err := c.stream.CloseSend(); err != nil {
		return err.Error()
	}
	return hex.EncodeToString(hash.Sum(nil))
}
