module krun.test/static_program

go 1.21
