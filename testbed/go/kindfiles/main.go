// Command kindfiles reads the string constants of kind's package nodeimage, which are private to it, and prints one of them:
// the manifests that kind bakes into a node image, and the images that they name.
//
//	kindfiles <directory of the package> <constant>
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kindfiles:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: kindfiles <directory> <constant>")
	}
	constants, err := read(args[0])
	if err != nil {
		return err
	}
	text, err := evaluate(ast.NewIdent(args[1]), constants)
	if err != nil {
		return err
	}
	_, err = fmt.Print(text)
	return err
}

// read gives the expression of every constant of the package, by name.
func read(directory string) (map[string]ast.Expr, error) {
	files, err := filepath.Glob(filepath.Join(directory, "const*.go"))
	if err != nil {
		return nil, err
	}
	constants := map[string]ast.Expr{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, declaration := range file.Decls {
			group, ok := declaration.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				value := spec.(*ast.ValueSpec)
				for i, expression := range value.Values {
					constants[value.Names[i].Name] = expression
				}
			}
		}
	}
	return constants, nil
}

// evaluate knows what these constants are made of: literals, each other's names, and +.
func evaluate(expression ast.Expr, constants map[string]ast.Expr) (string, error) {
	switch e := expression.(type) {
	case *ast.BasicLit:
		return strconv.Unquote(e.Value)
	case *ast.Ident:
		if value, ok := constants[e.Name]; ok {
			return evaluate(value, constants)
		}
		return "", fmt.Errorf("kind has no constant %q any more", e.Name)
	case *ast.BinaryExpr:
		left, err := evaluate(e.X, constants)
		if err != nil {
			return "", err
		}
		right, err := evaluate(e.Y, constants)
		return left + right, err
	default:
		return "", fmt.Errorf("cannot evaluate a %T", expression)
	}
}
