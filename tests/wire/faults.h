/*
 * Cases that are disturbed: what can fail in a case fails in turn, at the first time, the
 * second, and so on until the case is through without it; once, and from then on.
 *
 * Up to the fault a case goes as its script says. From there on the server of mirror.h
 * answers, the client sends and reads what it has to, and the clock goes on until each
 * request is answered. Then
 *
 *	- the answer is the one of the undisturbed case, to the byte, or a problem that is
 *	  right (502, 503, 504; never 401), or a body that breaks off visibly;
 *	- what is told as done was done: the server has the commands that it takes;
 *	- no lease is left, no memory, no session half an hour later;
 *	- and before that the same program has served another request well.
 *
 *	FAULTS_SAMPLE=n		about n moments of each kind and case; without it all
 *	FAULTS_EVERY=path	a file with names of cases of which all are taken (faults.every)
 *	FAULTS_STRIDE=n		every n-th case only
 *	FAULTS_KIND=text	only this kind
 *	FAULTS_N=n		only the n-th moment, with a stack trace of where it struck
 */
#ifndef GP_TESTS_WIRE_FAULTS_H
#define GP_TESTS_WIRE_FAULTS_H

#include "tests/wire/script.h"

/* Can it be disturbed? Not one that ends the program, or that nobody may log in to. */
bool faults_has_place(const struct script_case *test);
/* In processes of its own; prints a line. False: it failed. */
bool faults_test_case(const struct script_case *test, const char *path);

#endif
