// Command wire speaks what no other image of the bed does: gRPC (HTTP/2 in clear text) and datagrams that come back.
//
//	wire                               serves gRPC's health service at :50051 and echoes datagrams at :9007
//	wire udp HOST:PORT COUNT SIZE      sends COUNT datagrams of SIZE bytes from 20 sources, at most 50 at once, and prints
//	                                   datagrams a second, MiB a second each way, the 99th percentile in ms, and how many were lost
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

const (
	rpcPort = ":50051"
	udpPort = ":9007"
	sources = 20
	// Of 20 sources with at most 50 datagrams under way in all.
	inFlight = 50
	patience = 3 * time.Second
)

func main() {
	if len(os.Args) == 5 && os.Args[1] == "udp" {
		count, size := number(os.Args[3]), number(os.Args[4])
		measure(os.Args[2], count, size)
		return
	}
	go echo()
	serve()
}

// Which environment answers is the name of the service that it knows: WIRE_SERVICE.
func serve() {
	listener, err := net.Listen("tcp", rpcPort)
	exitOn(err)
	server, state := grpc.NewServer(), health.NewServer()
	state.SetServingStatus(os.Getenv("WIRE_SERVICE"), healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, state)
	exitOn(server.Serve(listener))
}

func echo() {
	socket, err := net.ListenPacket("udp", udpPort)
	exitOn(err)
	buffer := make([]byte, 65536)
	for {
		length, from, err := socket.ReadFrom(buffer)
		exitOn(err)
		// Somebody who is gone is no reason to end.
		_, _ = socket.WriteTo(buffer[:length], from)
	}
}

// measure shares the datagrams among the sources; each asks again as soon as it is answered.
func measure(address string, count, size int) {
	var group sync.WaitGroup
	var lock sync.Mutex
	var waits []time.Duration
	lost := 0
	slots := make(chan struct{}, inFlight)
	begin := time.Now()
	for source := range sources {
		group.Go(func() {
			mine, missing := converse(address, source, count/sources, max(size, 12), slots)
			lock.Lock()
			defer lock.Unlock()
			waits, lost = append(waits, mine...), lost+missing
		})
	}
	group.Wait()
	took := time.Since(begin).Seconds()
	if len(waits) == 0 {
		exitOn(fmt.Errorf("nothing was answered"))
	}
	slices.Sort(waits)
	p99 := waits[len(waits)*99/100]
	rate := float64(len(waits)) / took
	fmt.Printf("%.0f\t%.1f\t%.2f\t%d\n", rate, rate*float64(size)/(1<<20), float64(p99.Microseconds())/1000, lost)
}

func converse(address string, source, count, size int, slots chan struct{}) (waits []time.Duration, lost int) {
	connection, err := net.Dial("udp", address)
	exitOn(err)
	defer connection.Close()
	payload, answer := bytes.Repeat([]byte{byte(source)}, size), make([]byte, 65536)
	for turn := range count {
		slots <- struct{}{}
		binary.BigEndian.PutUint64(payload, uint64(turn))
		sent := time.Now()
		_, err := connection.Write(payload)
		exitOn(err)
		if awaits(connection, payload, answer) {
			waits = append(waits, time.Since(sent))
		} else {
			lost++
		}
		<-slots
	}
	return waits, lost
}

// awaits the answer to payload; an answer to an earlier one that was given up is passed over.
func awaits(connection net.Conn, payload, answer []byte) bool {
	exitOn(connection.SetReadDeadline(time.Now().Add(patience)))
	for {
		length, err := connection.Read(answer)
		if err != nil {
			return false
		}
		if bytes.Equal(answer[:length], payload) {
			return true
		}
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	exitOn(err)
	return value
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "wire:", err)
		os.Exit(1)
	}
}
