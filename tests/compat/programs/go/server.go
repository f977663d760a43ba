// net/http on the inherited listening socket.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	listener, err := net.FileListener(os.NewFile(3, "http"))
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/held", func(response http.ResponseWriter, request *http.Request) {
		control := http.NewResponseController(response)
		control.EnableFullDuplex()
		fmt.Fprint(response, "begun\n")
		control.Flush()
		io.Copy(io.Discard, request.Body)
		fmt.Fprintf(response, "ended %d", os.Getpid())
	})
	http.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		json.NewEncoder(response).Encode(map[string]int{"pid": os.Getpid()})
	})
	server := &http.Server{}
	drained := make(chan struct{})
	go func() {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		<-stop
		server.Shutdown(context.Background())
		close(drained)
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-drained
}
