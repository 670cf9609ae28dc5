// Makes calls with a client that openapi-generator has made for Go; a program for test_openapi_generator.py.
//
// Arguments: the URL of the server, and a file with the calls as JSON, a list of [operation, body]. Prints the outcomes.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	openapi "client"
)

type outcomes struct {
	Calls     []map[string]any          `json:"calls"`
	Described map[string]map[string]any `json:"described"`
}

// operations returns the methods of all services by lower-case name.
func operations(client *openapi.APIClient) map[string]reflect.Value {
	found := map[string]reflect.Value{}
	services := reflect.ValueOf(client).Elem()
	for index := 0; index < services.NumField(); index++ {
		if !strings.HasSuffix(services.Type().Field(index).Name, "API") {
			continue
		}
		service := services.Field(index)
		for number := 0; number < service.NumMethod(); number++ {
			name := service.Type().Method(number).Name
			if !strings.HasSuffix(name, "Execute") {
				found[strings.ToLower(name)] = service.Method(number)
			}
		}
	}
	return found
}

// withBody returns the request with a body: its builder has the name of the class of the body.
func withBody(request reflect.Value, body json.RawMessage) (reflect.Value, error) {
	for number := 0; number < request.NumMethod(); number++ {
		name := request.Type().Method(number).Name
		if name == "Execute" || name == "XRequestID" || name == "IdempotencyKey" {
			continue
		}
		given := reflect.New(request.Method(number).Type().In(0))
		if err := json.Unmarshal(body, given.Interface()); err != nil {
			return request, err
		}
		return request.Method(number).Call([]reflect.Value{given.Elem()})[0], nil
	}
	return request, nil
}

// execute returns the outcome of a request.
func execute(request reflect.Value) (map[string]any, error) {
	results := request.MethodByName("Execute").Call(nil)
	if failure, ok := results[len(results)-1].Interface().(error); ok && failure != nil {
		failed, ok := failure.(*openapi.GenericOpenAPIError)
		if !ok {
			return nil, failure
		}
		if strings.Contains(failed.Error(), "json:") {
			return nil, failure
		}
		return map[string]any{"problem": json.RawMessage(failed.Body())}, nil
	}
	result := results[0].Interface()
	if text, ok := result.(string); ok && json.Valid([]byte(text)) {
		result = json.RawMessage(text) // the client returns the JSON text of a string
	}
	return map[string]any{"result": result}, nil
}

func run() error {
	configuration := openapi.NewConfiguration()
	configuration.Servers = openapi.ServerConfigurations{{URL: os.Args[1]}}
	methods := operations(openapi.NewAPIClient(configuration))
	text, err := os.ReadFile(os.Args[2])
	if err != nil {
		return err
	}
	var calls [][]json.RawMessage
	if err := json.Unmarshal(text, &calls); err != nil {
		return err
	}
	start := []reflect.Value{reflect.ValueOf(context.Background())}
	found := outcomes{Described: map[string]map[string]any{}}
	for _, call := range calls {
		var name string
		if err := json.Unmarshal(call[0], &name); err != nil {
			return err
		}
		method, ok := methods[strings.ReplaceAll(strings.ToLower(name), "_", "")]
		if !ok {
			return fmt.Errorf("there is no method for %s", name)
		}
		request, err := withBody(method.Call(start)[0], call[1])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		outcome, err := execute(request)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		found.Calls = append(found.Calls, outcome)
	}
	for name, method := range methods {
		if strings.HasPrefix(name, "describe") {
			outcome, err := execute(method.Call(start)[0])
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			schema, err := json.Marshal(outcome["result"])
			if err != nil {
				return err
			}
			var described map[string]any
			if err := json.Unmarshal(schema, &described); err != nil {
				return err
			}
			found.Described[name] = described
		}
	}
	printed, err := json.Marshal(found)
	fmt.Println(string(printed))
	return err
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
