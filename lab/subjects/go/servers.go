package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
)

// listen listens on a free port and prints PORT PID. Go's listeners have the backlog that the system allows, its sockets
// TCP_NODELAY, and its processes as many descriptors as they may have (the last since 1.19).
func listen() net.Listener {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fail(err.Error())
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port, os.Getpid())
	return listener
}

// A goroutine for each connection.
func echo() {
	listener := listen()
	for {
		connection, err := listener.Accept()
		if err != nil {
			fail(err.Error())
		}
		go sendBack(connection)
	}
}

func sendBack(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 512)
	for {
		read, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:read]); err != nil {
			return
		}
	}
}

func serveHTTP() {
	body := bytes.Repeat([]byte("x"), 1024)
	length := []string{strconv.Itoa(len(body))}
	kind := []string{"text/plain"}
	respond := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		header := w.Header()
		header["Content-Length"] = length
		header["Content-Type"] = kind
		w.Write(body)
	}
	fail(http.Serve(listen(), http.HandlerFunc(respond)).Error())
}
