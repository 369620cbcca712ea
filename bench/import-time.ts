/*
 * A process of its own: how long it takes to load the root entry once what its users load anyway is there. Prints
 * milliseconds.
 */
import 'reflect-metadata';
import 'class-transformer';
import 'class-validator';
import 'koa';
import 'routing-controllers';
import 'typedi';

const before = performance.now();
void import('routing-controllers-sessions').then(() => process.stdout.write(String(performance.now() - before)));
